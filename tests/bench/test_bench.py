"""The bench judges what it measures, and the README shows what was measured."""

import copy
import json
from typing import Any

import pytest

from infra.bench import copying, readme, report
from infra.bench.__main__ import PARTS, RESULTS
from infra.bench.load import report as load_report
from infra.bench.targets import OF_PEER, judge

LATEST: dict[str, Any] = json.loads((RESULTS / "latest.json").read_text())


def missed(found: dict[str, Any]) -> set[str]:
    return {one.name for one in judge(found) if not one.is_met}


def changed(*path: str, to: Any) -> dict[str, Any]:
    found = copy.deepcopy(LATEST)
    inner = found
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return found


@pytest.mark.parametrize(
    ("path", "to", "name"),
    [
        (("calls", "one_image"), [{}] * 11, "one image"),
        (("calls", "four_images"), [{}] * 14, "four images"),
        (("calls", "read"), [{}] * 2, "read"),
        (("usd_per_1000", "total"), 0.051, "USD for 1,000 jobs"),
        (("cold", "webhook", "to_peer"), 0.46, "webhook, of the peer's"),
        (("cold", "submit", "to_peer"), 0.66, "submit, of the peer's"),
        (("cold", "catalog", "to_floor"), 1.26, "catalog, of its floor's"),
        (("warm_cpu_ms", "submit", "to_peer"), 1.01, "submit, of the peer's CPU"),
        (("answer", "to_peer"), 0.21, "webhook's answer to four images, of the peer's"),
        (("copying", "ways", "ours", "grown_mb"), 24.1, "MB more in memory"),
        (("copying", "speed", "memory"), 0.89, "speed, of the plainest loop's"),
    ],
)
def test_what_is_not_as_wanted_is_said(path: tuple[str, ...], to: Any, name: str) -> None:
    assert missed(changed(*path, to=to)) == missed(LATEST) | {name}
    assert f"{name} is " in report.readme(changed(*path, to=to))


def test_the_committed_run_is_whole() -> None:
    assert set(PARTS) == {"calls", "artifacts", "copying", "warm", "answer", "cold", "runtime"}
    assert {"calls", "artifacts", "copying", "warm_cpu_ms", "answer", "cold", "runtime"} <= set(LATEST)
    assert set(OF_PEER) <= set(LATEST["cold"])


def test_the_readme_shows_the_committed_run() -> None:
    assert readme.shown("bench") == report.readme(LATEST).strip()


def test_a_plot_is_the_same_whenever_it_is_drawn(tmp_path: Any) -> None:
    report.plot(LATEST, tmp_path)
    assert (tmp_path / "cold-starts.svg").read_text() == (RESULTS / "cold-starts.svg").read_text()


@pytest.mark.sockets
def test_the_sink_ends_with_what_started_it() -> None:
    with copying.sink() as origin:
        assert origin.startswith("http://127.0.0.1:")


def test_the_readme_shows_the_committed_load() -> None:
    section = load_report.section(json.loads((RESULTS / "load.json").read_text()))
    assert (RESULTS / "load.md").read_text() == section
    assert readme.shown("load") == load_report.for_readme(section).strip()
