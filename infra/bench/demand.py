"""What one job asks for: units of DynamoDB and calls as they were counted, seconds as they are declared here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

type Units = Mapping[str, int]
"""Write units, by the kind of item (`account`, `spending`, `job`, `prediction`) or the index that they go to."""

JOBS_TABLE = ("job", "prediction")  # an index has a throughput of its own


@dataclass(frozen=True)
class Figure:
    """A number that was assumed, not counted, and what it means."""

    value: float
    meaning: str


FIGURES: Mapping[str, Figure] = {
    "create": Figure(0.30, "seconds until Replicate answers a create, a part of `submit` and `dispatch`"),
    "postpone": Figure(0.03, "seconds of `dispatch` without a permit: one read, one message"),
    "admit": Figure(0.02, "seconds of one more job in a batch: one transaction"),
    "read": Figure(0.01, "seconds of a status read"),
    "start": Figure(1.0, "seconds of a cold start (`make bench` measures them, on another machine)"),
    "look": Figure(0.02, "seconds of `reconcile` for one job: one write, one message"),
    "poll": Figure(0.17, "the same, with a question to Replicate"),
    "page": Figure(0.16, "seconds of `reconcile` for a page of all shards: 8 queries, 8 reads"),
    "transaction": Figure(0.005, "seconds for which one transaction keeps others from its items"),
    "prediction": Figure(2.0, "median seconds that Replicate takes for an image of flux-schnell"),
    "spread": Figure(0.3, "standard deviation of their logarithm"),
    "image_bytes": Figure(200_000, "bytes of one megapixel of WebP"),
    "views": Figure(1, "times that somebody loads a file"),
    "item_bytes": Figure(2_500, "bytes that a finished job takes in DynamoDB, with its indexes and owner"),
    "usd_an_image": Figure(0.003, "Replicate's price of flux-schnell, read in 2026-10"),
}


@dataclass(frozen=True)
class Demand:
    """One job, from its request to its leaving the due index.

    The four units are of the steps in which it happens: `admission` and `adoption` by `submit`, `report` by `webhook`,
    `ending` by `archive`. `seconds` are of functions, by name.
    """

    admission: Units
    adoption: Units
    report: Units
    ending: Units
    write_units: int
    read_units: float
    puts: int
    messages: int
    webhooks: int
    reads: int
    seconds: Mapping[str, float]
    figures: Mapping[str, float] = field(default_factory=lambda: {name: one.value for name, one in FIGURES.items()})

    @property
    def units(self) -> Counter[str]:
        """Sum up all steps."""
        return Counter[str]() + sum(
            (Counter(step) for step in (self.admission, self.adoption, self.report, self.ending)), Counter()
        )

    @property
    def dispatching(self) -> Units:
        """Give what a job writes in addition if it had to wait: its claim, which a job started at once is born with.

        It changes the status and moves the job in the due index, as the first step of `archive` does.
        """
        return {"job": 1, "by_tenant": 1, "due": 2}

    @property
    def requests(self) -> int:
        """Count what comes in at API Gateway: the submit, Replicate's webhooks, the caller's reads."""
        return 1 + self.webhooks + self.reads

    @property
    def execution_seconds(self) -> float:
        """Sum up the seconds of all functions."""
        once = self.seconds["submit"] + self.seconds["archive"] + self.seconds["notify"]
        return once + self.webhooks * self.seconds["webhook"] + self.reads * self.figures["read"]


def demand(calls: Sequence[Mapping[str, Any]], *, seconds: Mapping[str, float], webhooks: int, reads: int) -> Demand:
    """Give the demand of the job that made these calls (as `infra.bench.calls.report` gives them, with `parts`)."""
    services = [call["service"] for call in calls]
    admitted = next(n for n, call in enumerate(calls) if "account" in call["parts"])
    adopted = next(n for n, call in enumerate(calls) if "prediction" in call["parts"])
    reported = services.index("sqs")
    bounds = (0, admitted + 1, adopted + 1, reported + 1, len(calls))
    admission, adoption, report, ending = (_sum(calls[begin:end]) for begin, end in pairwise(bounds))
    return Demand(
        admission=admission,
        adoption=adoption,
        report=report,
        ending=ending,
        write_units=sum(call["write_units"] for call in calls),
        read_units=sum(call["read_units"] for call in calls),
        puts=services.count("s3"),
        messages=services.count("sqs"),
        webhooks=webhooks,
        reads=reads,
        seconds=seconds,
    )


def _sum(calls: Sequence[Mapping[str, Any]]) -> Units:
    return dict(sum((Counter[str](call["parts"]) for call in calls), Counter[str]()))
