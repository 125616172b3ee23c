"""What is wanted of each figure: issue by issue agreed once, and judged by every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Of the peer's cold start, by CPU.
OF_PEER = {
    **dict.fromkeys(("webhook", "status", "files", "notify"), 0.45),
    **dict.fromkeys(("submit", "dispatch", "reconcile", "archive"), 0.65),
}
OF_FLOOR = 1.25
OF_WARM_PEER = 1.0
OF_ANSWER = 0.2
MOST_CALLS = {"one_image": 10, "four_images": 13, "read": 1}
MOST_USD = 0.05  # for 1,000 jobs of one image
MOST_GROWN_MB = 24
LEAST_SPEED = 0.9


@dataclass(frozen=True)
class Judged:
    """One figure beside its limit, which is the most it may be, or the least."""

    part: str
    name: str
    value: float
    limit: float
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the figure is as wanted."""
        return self.value >= self.limit if self.is_least else self.value <= self.limit

    @property
    def text(self) -> str:
        """Say what was found, what was wanted, and whether that is met."""
        wanted = f"at {'least' if self.is_least else 'most'} {self.limit:g}"
        return f"{self.value:.3g} ({wanted}: {'met' if self.is_met else 'NOT MET'})"


def judge(found: Mapping[str, Any]) -> Iterator[Judged]:
    """Hold everything that was measured against what is wanted; parts that were not measured are left out."""
    for name, most in MOST_CALLS.items() if "calls" in found else ():
        yield Judged("calls", name.replace("_", " "), len(found["calls"][name]), most)
    if "calls" in found:
        yield Judged("calls", "USD for 1,000 jobs", found["usd_per_1000"]["total"], MOST_USD)
    for name, one in found.get("cold", {}).items():
        if name in OF_PEER:
            yield Judged("cold start", f"{name}, of the peer's", one["to_peer"], OF_PEER[name])
        yield Judged("cold start", f"{name}, of its floor's", one["to_floor"], OF_FLOOR)
    for name, one in found.get("warm_cpu_ms", {}).items():
        yield Judged("warm", f"{name}, of the peer's CPU", one["to_peer"], OF_WARM_PEER)
    if "answer" in found:
        yield Judged("warm", "webhook's answer to four images, of the peer's", found["answer"]["to_peer"], OF_ANSWER)
    if "copying" in found:
        copying = found["copying"]
        yield Judged("copying", "MB more in memory", copying["ways"]["ours"]["grown_mb"], MOST_GROWN_MB)
        yield Judged("copying", "speed, of the plainest loop's", copying["speed"]["memory"], LEAST_SPEED, is_least=True)
