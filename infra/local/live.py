"""The real Replicate behind the local stack, for real money.

Its webhooks reach no laptop: `reconcile` stands in for them.
"""

import json
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.deploy import Aws

_MODEL = "black-forest-labs/flux-schnell"  # the cheapest
_BUDGET_USD = "1"
_USD = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_PAUSE_S = 2.0
_END_S = 3.0
_log = logging.getLogger(__name__)


class LiveError(Exception):
    """The real Replicate was asked for, but not as it should be; the message says what is wrong."""


@dataclass(frozen=True)
class Live:
    """What the real Replicate may be called with."""

    token: str = field(repr=False)
    budget_usd: str = _BUDGET_USD  # a day, for each tenant

    @classmethod
    def asked_for(cls, environ: Mapping[str, str]) -> Self | None:
        """Read `LIVE`, `REPLICATE_API_TOKEN` and `BUDGET_USD`; None stands for the simulator.

        Raises:
            LiveError: one of them is missing, or cannot be understood.
        """
        live = environ.get("LIVE") or "0"
        if live not in {"0", "1"}:
            raise LiveError(f"LIVE should be 1, for the real Replicate and real money, or not be there; not {live!r}.")
        if live == "0":
            return None
        token = environ.get("REPLICATE_API_TOKEN", "").strip()
        if not token:
            raise LiveError("LIVE=1 calls the real Replicate: put its API token into REPLICATE_API_TOKEN.")
        budget_usd = environ.get("BUDGET_USD") or _BUDGET_USD
        if not _USD.fullmatch(budget_usd):
            raise LiveError(f"BUDGET_USD should be an amount such as 1 or 2.50, not {budget_usd!r}.")
        return cls(token, budget_usd)

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters; where Replicate is, and its outputs, is left as the template says."""
        return {"Webhooks": "off", "DefaultModel": _MODEL, "DailyBudgetUsd": self.budget_usd}


class Reconciling:
    """Context manager that invokes `reconcile` again and again, one invocation at a time."""

    def __init__(self, aws: Aws, function: str, *, pause_s: float = _PAUSE_S) -> None:
        self._aws = aws
        self._function = function
        self._pause_s = pause_s
        self._stopped = threading.Event()
        # As a daemon it keeps nobody waiting: an invocation may take a minute, or end with the emulator.
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        said = ""
        while not self._stopped.wait(self._pause_s):
            wrong = self._invoke()
            if wrong and wrong != said and not self._stopped.is_set():
                _log.warning("reconcile fails, so that nothing hears from Replicate: %s", wrong)
            said = wrong

    def _invoke(self) -> str:
        """Run it once, and say what went wrong, if anything."""
        try:
            answer = self._aws.lambda_.invoke(FunctionName=self._function, Payload=b"{}")
            payload = answer["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            return str(error)
        return str(json.loads(payload).get("errorMessage")) if "FunctionError" in answer else ""
