"""The control port: what was asked of the simulator, and what it shall do wrong."""

import threading
from functools import partial
from json import JSONDecodeError, loads
from typing import Any

from infra.local.simulator.clock import Scheduler
from infra.local.simulator.faults import Fault, Faults, InvalidFaultError
from infra.local.simulator.listener import Answer, Listener, Request, reply
from infra.local.simulator.predictions import Predictions
from infra.local.simulator.records import Records

REFUSED_S = 2.0


class Control:
    """The control port, from request to answer."""

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        faults: Faults,
        predictions: Predictions,
        records: Records,
        api: Listener,
    ) -> None:
        self._scheduler = scheduler
        self._faults = faults
        self._predictions = predictions
        self._records = records
        self._api = api
        self._forgotten = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        match request.method, request.path:
            case "GET", "/_simulator/calls":
                return reply(200, self._calls())
            case "DELETE", "/_simulator/calls":
                self._records.forget()
                self._forgotten = max((each.number for each in self._predictions.newest_first()), default=0)
                return Answer(204)
            case "DELETE", "/_simulator/outputs":
                return reply(200, {"dropped": self._predictions.drop_outputs()})
            case "GET", "/_simulator/faults":
                return reply(200, [fault.shown() for fault in self._faults.active()])
            case "PUT", "/_simulator/faults":
                return self._put_faults(request)
            case _:
                return reply(404, {"detail": "The package's docstring names what is here."})

    def _calls(self) -> dict[str, Any]:
        listed = [each for each in self._predictions.newest_first() if each.number > self._forgotten]
        predictions = [self._predictions.summary(each) for each in reversed(listed)]
        charged = sum(each["charged"] for each in predictions)
        return {"charged": charged, "predictions": predictions, **self._records.shown()}

    def _put_faults(self, request: Request) -> Answer:
        try:
            with self._lock:
                active = self._faults.replace(loads(request.body))
                self._refuse_or_accept()
        except (InvalidFaultError, JSONDecodeError, UnicodeDecodeError) as wrong:
            return reply(400, {"detail": str(wrong)})
        for fault in active:
            if fault.kind == "refused" and (away_s := fault.delay_s or REFUSED_S * (fault.times or 0)):
                self._scheduler.after(away_s, partial(self._end_refusal, fault))
        return reply(200, [fault.shown() for fault in active])

    def _end_refusal(self, fault: Fault) -> None:
        with self._lock:
            self._faults.remove(fault)
            self._refuse_or_accept()

    def _refuse_or_accept(self) -> None:
        if any(fault.kind == "refused" for fault in self._faults.active()):
            self._api.refuse()
        else:
            self._api.accept()
