"""What processes take: resident memory and processor time, as Linux tells it."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FUNCTION = re.compile(r"/ministack-lambda-[a-z]+-[a-z0-9]+-(?P<name>[a-z]+)-")
_TICKS = os.sysconf("SC_CLK_TCK")
_INTERVAL_S = 1.0
# In /proc/{pid}/stat, after the name: parent, own time in user and system mode, that of children that have ended.
_PARENT, _TIMES, _CHILDREN = 1, slice(11, 13), slice(13, 15)
_BUSY = (0, 1, 2, 5, 6)  # in /proc/stat: user, nice, system, irq, softirq


@dataclass(frozen=True)
class Cpu:
    """Seconds of processor time since the start, by whom; `machine` is everything that runs on it."""

    emulator: float
    functions: float
    simulator: float
    machine: float


class Processes:
    """The processes of the local stack, looked at again and again while it is entered."""

    def __init__(self, emulator: int, simulator: int) -> None:
        self._emulator = emulator
        self._simulator = simulator
        self._most: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cpu(self) -> Cpu:
        """Give what has been used until now; each function is a child of the emulator."""
        own = _stat(self._emulator)
        functions = _seconds(own[_CHILDREN]) + sum(_seconds(_stat(pid)[_TIMES]) for pid in self._functions())
        return Cpu(_seconds(own[_TIMES]), functions, _seconds(_stat(self._simulator)[_TIMES]), _machine())

    def begin(self) -> None:
        """Forget the most that was seen so far."""
        self._most = {}

    def resident_mb(self) -> dict[str, float]:
        """Give the most that one process of each function has had since the beginning, and emulator and simulator."""
        self._look()
        return dict(sorted(self._most.items()))

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL_S):
            self._look()

    def _look(self) -> None:
        most = self._most
        for pid, name in (*self._functions().items(), (self._emulator, "emulator"), (self._simulator, "simulator")):
            with contextlib.suppress(OSError):  # it has just ended
                most[name] = max(most.get(name, 0.0), _resident_mb(pid))

    def _functions(self) -> dict[int, str]:
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = _FUNCTION.search(Path(folder, "cmdline").read_text())
                if command and int(_stat(int(folder.name))[_PARENT]) == self._emulator:
                    found[int(folder.name)] = command["name"]
        return found


def _stat(pid: int) -> list[str]:
    """Give the fields after the name, which may hold anything; none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


def _seconds(ticks: list[str]) -> float:
    return sum(map(int, ticks)) / _TICKS


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _machine() -> float:
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(first[n]) for n in _BUSY) / _TICKS
