"""The delivery host: output files in memory, served until they expire."""

import secrets
import threading
from collections.abc import Iterable, Mapping

from infra.local.simulator.clock import Scheduler
from infra.local.simulator.faults import Fault, Faults
from infra.local.simulator.images import CONTENT_TYPES
from infra.local.simulator.listener import Answer, Request, reply
from infra.local.simulator.records import Records

TYPES = {**CONTENT_TYPES, "tar": "application/x-tar"}


class Outputs:
    """The files, and the host that serves them."""

    def __init__(self, *, scheduler: Scheduler, faults: Faults, records: Records) -> None:
        self._scheduler = scheduler
        self._faults = faults
        self._records = records
        self._files: dict[str, tuple[str, bytes]] = {}  # path → prediction, content
        self._lock = threading.Lock()

    def put(self, prediction_id: str, names: Mapping[str, bytes]) -> list[str]:
        """The paths under which these files can now be had, in their order."""
        paths = {f"/xezq/{secrets.token_urlsafe(33)}/{name}": content for name, content in names.items()}
        with self._lock:
            self._files.update({path: (prediction_id, content) for path, content in paths.items()})
        return list(paths)

    def drop(self, prediction_ids: Iterable[str]) -> int:
        """Forget the files of these predictions; how many they were."""
        gone = set(prediction_ids)
        with self._lock:
            before = len(self._files)
            self._files = {path: file for path, file in self._files.items() if file[0] not in gone}
            return before - len(self._files)

    def __call__(self, request: Request) -> Answer:
        """Answer one request, and record it."""
        with self._lock:
            file = self._files.get(request.path)
        fault = self._faults.take("output") if file else None
        if fault:
            self._scheduler.pause(fault.delay_s)
        answer = _answer(request, file[1], fault) if file else _missing()
        answer.prediction_id = file[0] if file else None
        self._records.call("output", request, answer, fault)
        return answer


def _missing() -> Answer:
    return reply(404, {"detail": "Not found."})


def _answer(request: Request, content: bytes, fault: Fault | None) -> Answer:
    if request.method not in {"GET", "HEAD"}:
        return reply(405, {"detail": "Method not allowed."})
    answer = Answer(200, content, TYPES[request.path.rpartition(".")[2]])
    match fault.kind if fault else None, fault.options if fault else {}:
        case "missing", _:
            return _missing()
        case "redirect", {"location": location}:
            return Answer(302, headers={"Location": location})
        case "mislabelled", {"content_type": wrong}:
            answer.content_type = wrong
        case "truncated", _:
            answer.truncated = True
        case "chunked", _:
            answer.chunked = True
    return answer
