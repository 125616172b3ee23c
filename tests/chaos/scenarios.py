"""The scenarios: what a caller does, how Replicate behaves, and how the job ends if nothing else goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import Code
from shared.job import Status
from tests.chaos.replicate import Behaviour

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Scenario:
    """One request (or the same one several times), and what becomes of it."""

    name: str
    ends: Status = Status.SUCCEEDED
    problem: Code | None = None
    images: int = 1
    replicate: Behaviour = field(default_factory=Behaviour)
    prompts: int = 0  # of a batch; 0 is a single prediction
    submits: tuple[float, ...] = (0.0,)  # seconds after the start
    cancels: tuple[float, ...] = ()
    deletes: tuple[float, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    blocked_s: float = 0.0  # how long the limit towards Replicate is used up at the start
    twice: bool = False  # whether a second death is explored for every first one
    new: str = ""  # the functions whose calls differ from all scenarios above, if not all do

    @property
    def jobs(self) -> int:
        """How many jobs it makes, if nothing goes wrong."""
        return self.prompts or 1

    @property
    def reuses(self) -> bool:
        """Whether equal requests are given the same job."""
        return "Afterimage-Reuse" in self.headers

    @property
    def idempotent(self) -> bool:
        """Whether the caller sends a key, and so repeats what was not answered."""
        return "Idempotency-Key" in self.headers


KEY = {"Idempotency-Key": "order-1"}
REUSE = {"Afterimage-Reuse": "true"}
CANCELED, FAILED = Status.CANCELED, Status.FAILED

SCENARIOS: Mapping[str, Scenario] = {
    one.name: one
    for one in (
        Scenario("success", twice=True),
        Scenario("four-images", images=4, new="archive"),
        Scenario("failure", FAILED, Code.OUT_OF_MEMORY, replicate=Behaviour(ends="failed"), new="archive"),
        Scenario("nsfw-one", images=4, replicate=Behaviour(withheld=1), new="archive"),
        Scenario("nsfw-all", FAILED, Code.NSFW_CONTENT, images=4, replicate=Behaviour(ends="nsfw"), new="archive"),
        Scenario("aborted", CANCELED, replicate=Behaviour(ends="aborted"), new="webhook archive"),
        Scenario("refused", FAILED, Code.UPSTREAM_REJECTED, headers=KEY, replicate=Behaviour(answers=("refused",))),
        Scenario("idempotent", headers=KEY, submits=(0.0, 1.0, 30.0)),
        Scenario("large-output", replicate=Behaviour(padding=1_000_000), new="archive webhook"),
        Scenario("poisoned", FAILED, Code.OUTPUT_REJECTED, images=2, replicate=Behaviour(poisoned=True), new="archive"),
        Scenario("unavailable", images=2, replicate=Behaviour(unavailable_s=100.0), new="archive"),
        Scenario(
            "never-available", FAILED, Code.OUTPUT_EXPIRED, replicate=Behaviour(unavailable_s=3600.0), new="archive"
        ),
        Scenario("many-reports", replicate=Behaviour(runs_s=250.0, reports=12), new="webhook"),
        Scenario(
            "too-long", CANCELED, Code.DEADLINE_EXCEEDED, replicate=Behaviour(ends="never"), new="reconcile archive"
        ),
        # Several requests, and several jobs of one
        Scenario("reused", headers=REUSE, submits=(0.0, 1.0, 30.0), new="submit"),
        Scenario("reused-with-key", headers=KEY | REUSE, submits=(0.0, 1.0, 30.0), new="submit"),
        Scenario("batch", prompts=3, headers=KEY, submits=(0.0, 30.0), new="submit dispatch"),
        Scenario("deleted", deletes=(15.0, 16.0), new="cancel archive reconcile"),
        # Webhooks
        Scenario("lost-webhooks", images=2, replicate=Behaviour(webhooks="lost"), new="archive reconcile"),
        Scenario("doubled-webhooks", replicate=Behaviour(webhooks="doubled"), new="webhook archive"),
        Scenario("reversed-webhooks", replicate=Behaviour(webhooks="reversed"), new="webhook archive"),
        Scenario("late-webhooks", replicate=Behaviour(webhooks="late"), new="webhook reconcile"),
        Scenario(
            "expired",
            FAILED,
            Code.OUTPUT_EXPIRED,
            replicate=Behaviour(webhooks="lost", away_s=(1.0, 4000.0)),
            new="archive",
        ),
        # Cancel
        Scenario("cancel-starting", CANCELED, cancels=(1.0,), new="webhook cancel archive"),
        Scenario("cancel-processing", CANCELED, cancels=(5.0,), new="webhook cancel archive"),
        Scenario("cancel-ended", cancels=(8.5, 9.0), new="archive cancel"),
        Scenario("cancel-queued", CANCELED, cancels=(1.0,), blocked_s=30.0, new="cancel archive dispatch"),
        Scenario(
            "cancel-unclear",
            CANCELED,
            cancels=(16.0,),
            replicate=Behaviour(answers=("lost",)),
            new="cancel reconcile",
        ),
        Scenario(
            "cancel-unclear-taken",
            CANCELED,
            cancels=(0.05, 16.0),
            replicate=Behaviour(answers=("taken",), webhooks="lost", ends="never"),
        ),
        # Not taken
        Scenario("queued", blocked_s=20.0, twice=True),
        Scenario("throttled", replicate=Behaviour(answers=("throttled",)), new="submit dispatch"),
        Scenario(
            "throttled-again",
            replicate=Behaviour(answers=("throttled", "throttled", "no-credit")),
            new="dispatch",
        ),
        Scenario("outage", replicate=Behaviour(away_s=(0.0, 50.0)), new="dispatch reconcile"),
        Scenario("outage-while-running", replicate=Behaviour(away_s=(1.0, 1200.0), webhooks="lost"), new="reconcile"),
        Scenario(
            "deadline-queued",
            CANCELED,
            Code.DEADLINE_EXCEEDED,
            headers={"Cancel-After": "60"},
            blocked_s=200.0,
            new="reconcile dispatch archive",
        ),
        # Unclear
        Scenario("unclear-taken", replicate=Behaviour(answers=("taken",)), new="submit webhook"),
        Scenario(
            "unclear-taken-silent",
            replicate=Behaviour(answers=("taken",), webhooks="lost", lists_after_s=90.0),
            new="reconcile",
        ),
        Scenario(
            "unclear-taken-hidden",
            replicate=Behaviour(answers=("taken",), webhooks="lost", hides_webhook=True),
            new="reconcile",
        ),
        Scenario("unclear-lost", replicate=Behaviour(answers=("lost",)), new="reconcile dispatch"),
        Scenario("unclear-lost-twice", headers=KEY, replicate=Behaviour(answers=("lost", "lost")), new="reconcile"),
        Scenario(
            "outcome-unknown",
            FAILED,
            Code.OUTCOME_UNKNOWN,
            replicate=Behaviour(answers=("taken",), webhooks="lost", hides_webhook=True, twins=1, ends="never"),
            new="reconcile",
        ),
    )
}
