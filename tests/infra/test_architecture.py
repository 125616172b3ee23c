"""The pages for newcomers and operators agree with the code, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

from shared import schedule
from shared.job import ENDED, EVENTS, Abandoned, Settling, Status
from shared.notify_queue import DELAYS_S
from shared.reconciling import UNCLEAR_S
from tests.support.template import read_template

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "infra/architecture.md", "infra/upgrading.md")
ARCHITECTURE = (ROOT / "infra/architecture.md").read_text()
RESOURCES = read_template()["Resources"]
EDGE = re.compile(r"^  (\S+) --> (\w+)(?:: (.+))?$", re.MULTILINE)


def named(kind: str) -> set[str]:
    return {name for name, body in RESOURCES.items() if body["Type"] == kind}


def section(title: str, text: str = ARCHITECTURE) -> str:
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)", path.read_text())
    assert links
    assert [link for link in links if not link.startswith("https:") and not (path.parent / link).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_target_of_make_that_a_page_names_is_there(page: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    text = (ROOT / page).read_text()
    used = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"(?m)^make ([a-z-]+)", text))
    assert used
    assert used <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    paths = set(re.findall(r"`((?:tests|shared|functions|infra|\.github)/[\w./-]*)`", text))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_states_and_what_moves_a_job_are_those_of_the_code() -> None:
    expected: dict[tuple[str, str], set[str]] = {}
    for event in EVENTS:
        ends = ENDED - {Status.SUCCEEDED} if event is Abandoned else ENDED  # it never had anything to succeed with
        targets = ends if issubclass(event, Settling) else {event.to} - {None}
        for before in event.legal_from:
            for after in targets - {before}:
                expected.setdefault((before, str(after)), set()).add(event.__name__)
    drawn = {(one, other): set(by.split(", ")) for one, other, by in EDGE.findall(ARCHITECTURE) if by}
    assert drawn == expected
    assert {after for before, after, _ in EDGE.findall(ARCHITECTURE) if before == "[*]"} == {"queued", "starting"}


def test_every_function_is_told_of_and_every_queue_drawn() -> None:
    rows = set(re.findall(r"(?m)^\| `(\w+)` \| ", section("What it does")))
    assert rows == {name.removesuffix("Function").lower() for name in named("AWS::Serverless::Function")}
    queues = {name for name in named("AWS::SQS::Queue") if not name.endswith("DeadLetterQueue")}
    assert set(re.findall(r"\b\w+Queue\b", section("What it does"))) == queues


def test_every_kind_of_row_is_told_of() -> None:
    """Indices have keys of their own (`due#`, `files#`), which are no rows."""
    sources = "".join(path.read_text() for path in (ROOT / "shared").glob("*.py"))
    used = set(re.findall(r"""["'](\w+)#(?:["'{]|\w)""", sources)) - {"due", "files"}
    told = set(re.findall(r"(?m)^\| `(\w+)#", section("What is stored")))
    assert told == used


def test_the_figures_are_those_of_the_code() -> None:
    assert f"a lease of {schedule.LEASE_S} seconds" in ARCHITECTURE
    assert f"its lease ends after {schedule.LEASE_S} seconds" in ARCHITECTURE
    assert f"polls after {schedule.POLL_S} seconds of silence" in ARCHITECTURE
    assert (schedule.LONGEST_POLL_S, schedule.QUEUED_S) == (300, 300)
    assert (schedule.CLAIM_S, schedule.MANIFEST_S, UNCLEAR_S) == (60, 60, 3600)
    assert f"{len(DELAYS_S) + 1} calls within about a day" in ARCHITECTURE
    assert 22 < sum(DELAYS_S) / 3600 < 26


def test_the_parameters_that_the_upgrade_notes_name_are_there() -> None:
    page = (ROOT / "infra/upgrading.md").read_text()
    told = set(re.findall(r"`([A-Z]\w+)`", section("Parameters", page)))
    values = {"AllAtOnce"}
    assert told - values <= set(read_template()["Parameters"])
    assert set(read_template()["Parameters"]["WarmStarts"]["AllowedValues"]) <= set(
        re.findall(r"(?m)^\| `(\w+)` \|", page)
    )


def test_the_functions_that_can_start_warm_are_those_of_the_upgrade_notes() -> None:
    warm = {name for name in named("AWS::Serverless::Function") if "SnapStart" in RESOURCES[name]["Properties"]}
    page = (ROOT / "infra/upgrading.md").read_text()
    (line,) = re.findall(r"For `(\w+)`, `(\w+)` and `(\w+)`, for which somebody waits", page)
    assert set(line) == {name.removesuffix("Function").lower() for name in warm}
    assert read_template()["Globals"]["Function"]["MemorySize"] == 1024
