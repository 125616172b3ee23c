"""A terminal with a program in it: what a person reads and types."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_S = 600  # for one step: sam waits five seconds at a time, and other tests may run


class Terminal:
    """Runs a program; `expect` reads until something is asked, `type` answers it."""

    def __init__(self, arguments: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> None:
        self._screen, inner = os.openpty()
        try:
            self._process = subprocess.Popen(
                arguments, stdin=inner, stdout=inner, stderr=inner, env=environment, cwd=cwd, start_new_session=True
            )
        finally:
            os.close(inner)
        self.shown = ""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._screen)

    def expect(self, pattern: str) -> None:
        """Read until the program has shown this, after what was expected before."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.compile(pattern).search(self.shown, self._seen)):
            assert time.monotonic() < deadline, f"{pattern!r} did not come:\n{self.shown}"
            assert self._read(), f"it ended without {pattern!r}:\n{self.shown}"
        self._seen = found.end()

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._screen, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end, and give the exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it did not end:\n{self.shown}"
        return self._process.wait(PATIENCE_S)

    def _read(self) -> bool:
        """Read what comes within a second; False when nothing can come any more."""
        ready, _, _ = select.select([self._screen], [], [], 1)
        if not ready:
            return True
        try:
            more = os.read(self._screen, 65_536)
        except OSError:  # how Linux says that nobody has the other end open
            return False
        self.shown += more.decode(errors="replace").replace("\r\n", "\n")
        return more != b""
