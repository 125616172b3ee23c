"""Which faults there are, which are active, and who meets the next one; the package's docstring is their manual."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REQUIRED: Any = object()
EVENTS = ("start", "output", "logs", "completed")


@dataclass(frozen=True)
class Option:
    """What a fault may say beyond on, kind, times and delay_s; `default=None`: it may be left out."""

    type: type
    default: Any = None
    choices: tuple[str, ...] = ()


DELAY = {"delay_s": Option(float, REQUIRED)}
EVENT = {"event": Option(str, None, EVENTS)}

type Kinds = dict[str, dict[str, Option]]

ANY_CALL: Kinds = {
    "throttled": {
        "variant": Option(str, "plain", ("plain", "problem", "low_credit")),
        "retry_after": Option(int),
    },
    "error_500": {"status": Option(int, 500)},
    "unauthorized": {},
    "slow": DELAY,
    "garbage": {},
    "refused": {},
}
CHANGE: Kinds = {"cut_after_taken": {}, "cut_before_taken": {}}
KINDS: dict[str, Kinds] = {
    "create": {
        **ANY_CALL,
        **CHANGE,
        "insufficient_credit": {},
        "invalid": {
            "field": Option(str, "input.prompt"),
            "description": Option(str, "Invalid value"),
        },
        "not_found": {},
    },
    "get": {**ANY_CALL, "cut": {}, "not_found": {}, "hide_webhook": {}, "aged": {"seconds": Option(float, REQUIRED)}},
    "list": {**ANY_CALL, "cut": {}, "hide_webhook": {}, "lag": {"seconds": Option(float, REQUIRED)}},
    "cancel": {**ANY_CALL, **CHANGE, "not_found": {}},
    "model": {**ANY_CALL, **CHANGE, "not_found": {}},
    "webhook": {
        "lost": EVENT,
        "doubled": EVENT,
        "late": {**EVENT, **DELAY},
        "forged": EVENT,
        "reversed": {},
    },
    "output": {
        "missing": {},
        "slow": DELAY,
        "redirect": {"location": Option(str, REQUIRED)},
        "mislabelled": {"content_type": Option(str, "text/html")},
        "truncated": {},
        "chunked": {},
    },
    "prediction": {
        "slow": DELAY,
        "fail": {"error": Option(str, "E1001: out of memory")},
        "nsfw": {"drop": Option(int)},
        "aborted": {"webhook": Option(bool, default=True)},
        "canceled": {},
        "never": {},
        "held": {"part": Option(float, 0.0)},
        "unknown_status": {
            "status": Option(str, "suspended"),
            "at": Option(str, "run", ("run", "end")),
        },
        "long_logs": {"bytes": Option(int, REQUIRED)},
    },
}


class InvalidFaultError(ValueError):
    """The list of faults cannot be used; the message says which part, and what is allowed."""


@dataclass
class Fault:
    """One entry of the list: `times` counts down."""

    on: str
    kind: str
    times: int | None = None
    delay_s: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    replaced: threading.Event = field(default_factory=threading.Event)  # the whole list that it was in

    @classmethod
    def parse(cls, data: object) -> "Fault":
        """Read one entry, or say what is wrong with it."""
        if not isinstance(data, dict):
            raise InvalidFaultError(f"a fault is an object, not {data!r}")
        on, kind = data.get("on"), data.get("kind")
        if not isinstance(on, str) or on not in KINDS:
            raise InvalidFaultError(f"unknown on {on!r}; one of: {', '.join(KINDS)}")
        if not isinstance(kind, str) or kind not in KINDS[on]:
            raise InvalidFaultError(f"unknown kind {kind!r} on {on}; one of: {', '.join(KINDS[on])}")
        times = data.get("times")
        if times is not None and (not _is(times, int) or times < 1):
            raise InvalidFaultError(f"times of {on} {kind} is null or a whole number from 1, not {times!r}")
        allowed = {"delay_s": Option(float, 0.0), **KINDS[on][kind]}
        if unknown := set(data) - {"on", "kind", "times"} - set(allowed):
            raise InvalidFaultError(
                f"unknown {', '.join(sorted(unknown))} for {on} {kind}; it takes: times, {', '.join(allowed)}"
            )
        options = {name: _option(f"{on} {kind}", name, allowed[name], data) for name in allowed}
        return cls(on, kind, times, float(options.pop("delay_s")), options)

    def shown(self) -> dict[str, Any]:
        """Give it back as the control port takes it."""
        given = {name: value for name, value in self.options.items() if value is not None}
        return {"on": self.on, "kind": self.kind, "times": self.times, "delay_s": self.delay_s, **given}


def _option(where: str, name: str, option: Option, data: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    value = data.get(name, option.default)
    if value is REQUIRED:
        raise InvalidFaultError(f"{where} needs {name}")
    if value is None:
        return None
    if not _is(value, option.type) or (option.type in {int, float} and value < 0):
        raise InvalidFaultError(f"{name} of {where} is no {option.type.__name__} it can use: {value!r}")
    if option.choices and value not in option.choices:
        raise InvalidFaultError(f"{name} of {where} is one of: {', '.join(option.choices)}")
    return value


def _is(value: object, wanted: type) -> bool:
    if wanted in {int, float} and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if wanted is float else wanted)


class Faults:
    """The active list."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._replaced = threading.Event()
        self._lock = threading.Lock()

    def replace(self, data: object) -> list[Fault]:
        """Make this the list, if all of it can be used."""
        if not isinstance(data, list):
            raise InvalidFaultError("faults are a JSON list; an empty one clears all")
        parsed = [Fault.parse(each) for each in data]
        replaced = threading.Event()
        for fault in parsed:
            fault.replaced = replaced
        with self._lock:
            self._active = parsed
            self._replaced.set()
            self._replaced = replaced
        return parsed

    def active(self) -> list[Fault]:
        """List what is left."""
        with self._lock:
            return list(self._active)

    def remove(self, fault: Fault) -> None:
        """Take this one out, if it is still there."""
        with self._lock:
            self._active = [each for each in self._active if each is not fault]

    def take(self, on: str, *, event: str | None = None, whole_prediction: bool = False) -> Fault | None:
        """The fault that strikes now, if any; it then has one time less to go.

        `refused` strikes before anybody could ask; `reversed` is asked for once a prediction.
        """
        with self._lock:
            for fault in self._active:
                if fault.on != on or fault.kind == "refused" or (fault.kind == "reversed") != whole_prediction:
                    continue
                if fault.options.get("event") not in {None, event}:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._active.remove(fault)
                return fault
        return None
