"""dynalite, a DynamoDB in Node.js, as `make test-dynalite` installs it."""

import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".local" / "dynalite"
READY_S = 30
# The system chooses the port; the end of stdin, which comes whatever ends this process, ends that one.
PROGRAM = """
const server = require('dynalite')({ createTableMs: 0 })
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit()).resume()
"""


@contextmanager
def serving_dynalite() -> Iterator[str]:
    """Serve while the block runs, in memory, and give the origin."""
    with subprocess.Popen(
        ["node", "-e", PROGRAM], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            ready, _, _ = select.select([process.stdout], [], [], READY_S)
            port = process.stdout.readline().decode().strip() if ready else ""
            assert port, "dynalite did not start: its words are in the captured stderr"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
