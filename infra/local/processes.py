"""Child processes that end with their parent, whatever ends it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_LOG_TAIL_LINES = 25


class ChildError(Exception):
    """A child process ended, or did not say what it should have said in time."""


class Child:
    """A Python program of this project, run in a process group of its own.

    It holds the reading end of a pipe as its stdin and ends at end of file, which also comes when this
    process is killed. What it prints first is read with `first_line`; all else goes to its log.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(environment),
                # Modules are found in the project; functions get their own folder and never see it.
                cwd=Path(__file__).resolve().parents[2],
                pass_fds=pass_fds,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Number of the process and of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def tell(self, message: Mapping[str, object]) -> None:
        """Write one line of JSON to the child's stdin."""
        stdin = self._process.stdin
        if stdin is None or not self.running:
            raise ChildError(self.report("ended early"))
        stdin.write(json.dumps(message).encode() + b"\n")
        stdin.flush()

    def first_line(self, timeout_s: float) -> dict[str, Any]:
        """Return the object that the child prints when it is ready."""
        lines: list[bytes] = []
        stdout = self._process.stdout
        if stdout is None:
            raise ChildError(self.report("has no output"))
        reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
        reader.start()
        reader.join(timeout_s)
        if not lines or not lines[0]:
            raise ChildError(self.report("ended early" if lines else f"was not ready after {timeout_s:g} s"))
        message: dict[str, Any] = json.loads(lines[0])
        return message

    def report(self, what: str) -> str:
        """Say what happened to this child, with the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([f"The {self.name} {what}. The end of {self.log}:", *lines])

    def stop(self, timeout_s: float = 3) -> None:
        """End the child and everything that it started."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_group(self._process.pid)
            self._process.wait()


def follow_stdin(on_line: Callable[[bytes], None] | None = None) -> None:
    """Hand over each line of stdin, and kill this process's whole group, workers included, when it ends."""

    def follow() -> None:
        for line in sys.stdin.buffer:
            if on_line:
                on_line(line)
        _kill_group(os.getpgrp())

    threading.Thread(target=follow, daemon=True).start()


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def bare_environment(home: Path) -> dict[str, str]:
    """Return an environment without the user's credentials, proxies, tokens and AWS settings."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    binaries = Path(sys.executable).parent
    return kept | {
        # MiniStack runs functions with the Python that runs it; what they start themselves is found here.
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
    }
