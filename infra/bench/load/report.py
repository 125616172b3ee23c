"""The load's results as they are read: tables in the terminal, and a section for the README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from infra.bench.load.judging import OTHERS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    type Rows = tuple[Sequence[str], Sequence[Sequence[str]]]


DUE = "dynamodb Query jobs"


def show(console: Console, found: Mapping[str, Any]) -> None:
    """Print everything."""
    for title, (columns, rows) in _tables(found).items():
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(limit(found))


def section(found: Mapping[str, Any]) -> str:
    """Give the section of the README."""
    idle = {who: sum(names.values()) for who, names in found["idle"]["calls"].items()}
    asked = ", ".join(f"{who} {n:.0f}" for who, n in idle.items()) or "nothing"
    intro = (
        f"`make load`, {found['at'][:10]}, {found['machine']}, {found['tool']}: callers of three tenants create jobs "
        "in four ways, follow each to its end as they are told to, and list them. Everything runs on one machine, "
        "Replicate (simulated) and AWS (emulated) included; counts are exact, times are this machine's. Each function "
        "signs with credentials of its own, by which every call is counted: those of a job are those of submit, "
        "dispatch, webhook, archive and notify, without the looks of a submit that waits. Calls in "
        f"{found['idle']['seconds']:.0f} idle seconds: {asked}."
    )
    parts = ["### Under load", intro, "![The load](infra/bench/results/load.svg)"]
    for title, (columns, rows) in _tables(found).items():
        parts += [f"**{title}**", _markdown(columns, rows)]
    return "\n\n".join([*parts, limit(found)]) + "\n"


def limit(found: Mapping[str, Any]) -> str:
    """Say what was the limit, in a few sentences."""
    limits, last = found["limits"], found["growth"][-1]
    emulator = min(limits["emulator_process"], limits["emulator_work"])
    which = "this machine" if limits["machine"] < emulator else "the emulator"
    measured = ", ".join(f"{name} {rate:.0f}" for name, rate in found["ceilings"].items())
    ours = {name: n for name, n in last["cpu_s"].items() if name != OTHERS}
    shares = ", ".join(f"{name} {100 * n / sum(ours.values()):.0f} %" for name, n in ours.items())
    return (
        f"The limit of the largest run was {which}, not the functions, each of which has a processor of its own on "
        f"Lambda: {limits['reached']:.1f} jobs a second were reached. The emulator's own ceiling is "
        f"{limits['emulator_process']:.1f} by the time that its one process takes for a job, and "
        f"{limits['emulator_work']:.1f} by what it can do with functions that take no time (with eight callers, a "
        f"second: {measured}). The machine's is {limits['machine']:.1f}, with the {limits['cores_left']:.1f} cores "
        f"that other programs left; of the processor time, {shares}."
    )


def _tables(found: Mapping[str, Any]) -> dict[str, Rows]:
    return {
        "Targets": _targets(found["targets"]),
        "What a job takes, as they become more": _growth(found["growth"]),
        "Calls of a job, in the largest run": _calls(found["growth"][-1]),
        "Memory of the largest process of each, MB": _memory(found["growth"]),
        "Callers at the same time, and the ms within which they were answered (50 / 95 / 99 %)": _steps(found["steps"]),
    }


def _targets(targets: Sequence[Mapping[str, Any]]) -> Rows:
    rows = [(one["name"], one["found"], one["wanted"], "met" if one["is_met"] else "NOT MET") for one in targets]
    return ("target", "found", "wanted", ""), rows


def _growth(growth: Sequence[Mapping[str, Any]]) -> Rows:
    lines: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("calls to AWS", lambda one: f"{one['a_job']['calls']:.2f}"),
        ("… of which a condition refused", lambda one: f"{one['a_job']['refused']:.2f}"),
        ("DynamoDB write units", lambda one: f"{one['a_job']['write_units']:.2f}"),
        ("DynamoDB read units", lambda one: f"{one['a_job']['read_units']:.2f}"),
        ("reads while a caller waits, in all", lambda one: f"{one['waiting_reads']:.0f}"),
        ("calls of reconcile, in all", lambda one: f"{sum(one['calls'].get('reconcile', {}).values()):.0f}"),
        ("… of which its looks for what is due", lambda one: f"{one['calls'].get('reconcile', {}).get(DUE, 0):.0f}"),
        ("functions, CPU ms", lambda one: f"{one['a_job']['functions_cpu_ms']:.0f}"),
        ("emulator, CPU ms", lambda one: f"{one['a_job']['emulator_cpu_ms']:.0f}"),
        ("jobs a second", lambda one: f"{one['jobs_a_second']:.1f}"),
        ("seconds, and until all was at rest", lambda one: f"{one['seconds']:.0f} + {one['rest_s']:.0f}"),
    ]
    columns = ("", *(f"up to {one['total']:,} jobs" for one in growth))
    return columns, [(name, *(say(one) for one in growth)) for name, say in lines]


def _calls(run: Mapping[str, Any]) -> Rows:
    rows = []
    for who in WORKERS:
        for call, n in run["calls"].get(who, {}).items():
            refused = run["refused"].get(who, {}).get(call, 0)
            rows.append((who, call, f"{n / run['jobs']:.2f}", f"{refused / run['jobs']:.2f}" if refused else ""))
    return ("function", "call", "a job", "of which a condition refused"), rows


def _memory(growth: Sequence[Mapping[str, Any]]) -> Rows:
    names = growth[0]["resident_mb"]
    columns = ("", *(f"up to {one['total']:,} jobs" for one in growth))
    return columns, [(name, *(_mb(one["resident_mb"].get(name)) for one in growth)) for name in names]


def _mb(size: float | None) -> str:
    return "" if size is None else f"{size:.0f}"


def _steps(steps: Sequence[Mapping[str, Any]]) -> Rows:
    kinds = dict.fromkeys(kind for one in steps for kind in one["latency_ms"])
    rows = [
        (
            str(one["users"]),
            f"{one['jobs_a_second']:.1f}",
            *(_percentiles(one["latency_ms"].get(kind)) for kind in kinds),
        )
        for one in steps
    ]
    return ("callers", "jobs a second", *kinds), rows


def _percentiles(found: Mapping[str, float] | None) -> str:
    return " / ".join(f"{found[name]:.0f}" for name in ("p50", "p95", "p99")) if found else ""


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def for_readme(section: str) -> str:
    """Give the main part of the section, for the README."""
    main, _, _ = section.partition("**Calls of a job")
    return f"{main.strip()}\n\nEach call, memory and times are in [`load.md`](infra/bench/results/load.md).\n"
