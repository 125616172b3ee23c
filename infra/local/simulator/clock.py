"""Time: what happens later, who does it, and how moments are written."""

import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger(__name__)

type Action = Callable[[], object]


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def written(moment: datetime | None) -> str | None:
    """As Replicate writes moments: ISO 8601 in UTC with microseconds and a Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


class Workers:
    """A bounded number of threads that do what they are given, in the order it came."""

    def __init__(self, name: str, size: int) -> None:
        self._queue: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, action: Action) -> None:
        """Have it done as soon as a thread is free."""
        self._queue.put(action)

    def stop(self) -> None:
        """End the threads when what was submitted before is done."""
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end."""
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while action := self._queue.get():
            try:
                action()
            except Exception:
                log.exception("a step of the simulator failed")


class Scheduler:
    """Hands actions to workers when their time has come; sleeps in between.

    The only place that knows how long a second is: compressed time belongs here.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._due: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def after(self, delay_s: float, action: Action) -> None:
        """Have it done after `delay_s`."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._order), action))
            self._changed.notify_all()

    def pause(self, delay_s: float) -> None:
        """Hold the calling thread, for no longer than the simulator lives."""
        end = time.monotonic() + delay_s
        with self._changed:
            while not self._stopped and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)

    def stop(self) -> None:
        """Forget what is due, and let go of those who pause."""
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify_all()
        self._thread.join(1)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._stopped:
                    return
                action = heapq.heappop(self._due)[2]
            self._workers.submit(action)
