"""What a run found, for people: tables for the terminal, plots, and the part of the README that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from infra.bench import calls
from infra.bench import readme as place
from infra.bench.plots import new_plot, save
from infra.bench.subjects import ALL
from infra.bench.targets import OF_FLOOR, OF_PEER, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COLORS = {"ours": "#2f6f8f", "peer": "#c7823b", "floor": "#9aa5ab"}


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Give a table of each part that was measured, and one of what was wanted."""
    if "calls" in found:
        yield _calls_table(found)
    if "cold" in found:
        yield _cold_table(found)
    if "warm_cpu_ms" in found:
        table = Table("function", *ALL, "of the peer's", title="Warm: CPU ms an invocation", title_justify="left")
        for name, one in found["warm_cpu_ms"].items():
            table.add_row(name, *(f"{one[who]:.2f}" for who in ALL), f"{one['to_peer']:.2f}")
        yield table
    if "copying" in found:
        yield _copying_table(found["copying"])
    if "artifacts" in found:
        table = Table("part", "MB unpacked", title="Artifacts", title_justify="left")
        for name in ("functions", "layer"):
            sizes = found["artifacts"][name]
            table.add_row(f"{name} ({_mb(sizes['packed'])} MB packed, {sizes['files']} files)", _mb(sizes["unpacked"]))
        for name, size in found["artifacts"]["layer_parts"].items():
            table.add_row(f"  {name}", _mb(size))
        yield table
    table = Table("part", "what", "found", title="What is wanted", title_justify="left")
    for one in judge(found):
        table.add_row(one.part, one.name, one.text, style=None if one.is_met else "bold red")
    yield table


def _calls_table(found: Mapping[str, Any]) -> Table:
    columns = ("call", "touches", "write units", "why")
    table = Table(*columns, title="One image, from the request to the end", title_justify="left")
    for call, reason in zip(found["calls"]["one_image"], calls.REASONS, strict=True):
        name = f"{call['service']} {call['operation']}"
        table.add_row(name, call["touches"], str(call["write_units"] or ""), reason)
    counts = ", ".join(f"{name.replace('_', ' ')} {len(made)}" for name, made in found["calls"].items())
    usd = found["usd_per_1000"]
    shares = ", ".join(f"{service} {each:.4f}" for service, each in usd.items() if service != "total")
    table.caption = f"calls: {counts}\n1,000 jobs of one image: {usd['total']:.4f} USD ({shares}); Replicate's: 3.00"
    return table


def _cold_table(found: Mapping[str, Any]) -> Table:
    columns = ("function", "import ms", "first ms", "CPU ms", "modules", "MB", "of the peer's CPU", "of its floor's")
    table = Table(*columns, title="Cold starts: import, clients and first invocation", title_justify="left")
    for name, one in found["cold"].items():
        ours = one["ours"]
        table.add_row(
            name,
            *(f"{ours[measure]:.0f}" for measure in ("import_ms", "first_ms", "cpu_ms", "modules", "resident_mb")),
            f"{one['to_peer']:.2f}",
            f"{one['to_floor']:.2f}",
        )
    if "runtime" in found:
        ratios = ", ".join(f"{name} {one['to_peer']:.2f}" for name, one in found["runtime"].items())
        table.caption = f"Under Lambda's own runtime, by time, of the peer's: {ratios}"
    return table


def _copying_table(copying: Mapping[str, Any]) -> Table:
    title = f"Copying {copying['count']} images of {_mb(copying['bytes'])} MB"
    table = Table("way", "seconds", "MB more in memory", title=title, title_justify="left")
    for way, one in copying["ways"].items():
        table.add_row(way, f"{one['seconds']:.2f}", f"{one['grown_mb']:.0f}")
    at_once = copying["at_once"]
    small = f"{copying['count']} images of {_mb(at_once['bytes'])} MB from a host that takes {at_once['delay_ms']} ms"
    table.caption = f"{small}: at once {at_once['gain']:.1f} times as fast as one by one"
    return table


def plot(found: Mapping[str, Any], folder: Path) -> None:
    """Draw the cold starts."""
    cold = found["cold"]
    figure, axes = new_plot(8, 4.2)
    height = 0.27
    for number, who in enumerate(ALL):
        places = [place + (number - 1) * height for place in range(len(cold))]
        axes.barh(places, [one[who]["cpu_ms"] for one in cold.values()], height, label=who, color=COLORS[who])
    axes.set_yticks(range(len(cold)), list(cold))
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms of a cold start: import, clients and first invocation")
    axes.legend(frameon=False)
    save(figure, folder / "cold-starts.svg")


def readme(found: Mapping[str, Any]) -> str:
    """Give the README's part: every figure in it is the run's."""
    judged = list(judge(found))
    missed = [f"{one.part}: {one.name} is {one.text}" for one in judged if not one.is_met]
    met = f"{len(judged) - len(missed)} of {len(judged)} targets met"
    where = f"Measured on {found['at'][:10]} ({found['machine']}, Python {found['python']})"
    return f"""{where}: {met}{"".join(f"; {one}" for one in missed)}.

| function | CPU ms | peer | floor | of the peer's (at most) | of its floor's | in Lambda's runtime | MB | modules |
|---|---|---|---|---|---|---|---|---|
{"".join(_cold_rows(found))}
Of its floor's CPU, a cold start may take {OF_FLOOR} at most. "In Lambda's runtime" is the time of the first answer, of
the peer's, under `aws-lambda-rie` with `awslambdaric`.

![Cold starts of each function beside the peer and the floor](infra/bench/results/cold-starts.svg)

{"".join(f"- {line}\n" for line in _facts(found))}"""


def _cold_rows(found: Mapping[str, Any]) -> Iterator[str]:
    for name, one in found["cold"].items():
        most = f" ({OF_PEER[name]})" if name in OF_PEER else ""
        cells = [
            f"`{name}`",
            *(f"{one[who]['cpu_ms']:.0f}" for who in ALL),
            f"{one['to_peer']:.2f}{most}",
            f"{one['to_floor']:.2f}",
            f"{found['runtime'][name]['to_peer']:.2f}" if name in found["runtime"] else "",
            f"{one['ours']['resident_mb']:.0f}",
            f"{one['ours']['modules']:.0f}",
        ]
        yield f"| {' | '.join(cells)} |\n"


def _facts(found: Mapping[str, Any]) -> Iterator[str]:
    warm = [f"`{name}` {one['ours']:.1f} ({one['to_peer']:.2f})" for name, one in found["warm_cpu_ms"].items()]
    yield f"**Warm**, in CPU ms an invocation, and of the peer's: {', '.join(warm)}."
    answer = found["answer"]
    ms = answer["ms"]
    yield (
        f"**A webhook** that brings {answer['images']} images of {_mb(answer['bytes'])} MB is answered in "
        f"{ms['ours']:.1f} ms, by the peer in {ms['peer']:.0f}: {answer['to_peer']:.2f}."
    )
    counts = {name: len(made) for name, made in found["calls"].items()}
    yield (
        f"**Calls to AWS**: one image {counts['one_image']}, from the request to the job that is no longer due; four "
        f"images {counts['four_images']}; a job that fails {counts['failed']}; one that Replicate throttles first "
        f"{counts['throttled']}; a read {counts['read']}."
    )
    usd = found["usd_per_1000"]
    shares = ", ".join(f"{service} {each:.4f}" for service, each in usd.items() if service != "total")
    yield (
        f"**Money**: 1,000 jobs of one image cost {usd['total']:.3f} USD before storage, traffic, polls and waits "
        f"({shares}), by AWS's prices of {found['prices_of']}; Replicate takes 3.00 for them. How long functions run "
        "on Lambda is an assumption there, in `infra/bench/calls.py`."
    )
    copying = found["copying"]
    ways, at_once = copying["ways"], copying["at_once"]
    yield (
        f"**Copying** {copying['count']} images of {_mb(copying['bytes'])} MB takes {ways['ours']['grown_mb']:.0f} MB "
        f"of memory, the plainest loop {ways['memory']['grown_mb']:.0f}, at {copying['speed']['memory']:.2f} of its "
        f"speed. {copying['count']} images of {_mb(at_once['bytes'])} MB, from a host that takes "
        f"{at_once['delay_ms']} ms to answer, are copied {at_once['gain']:.1f} times as fast at once as one by one."
    )
    functions, layer = (found["artifacts"][name]["packed"] for name in ("functions", "layer"))
    yield f"**Artifacts**, packed: {_mb(functions, 2)} MB of functions and {_mb(layer)} MB of layer."


def update_readme(found: Mapping[str, Any]) -> None:
    """Put the run into the README, between the two marks."""
    place.put("bench", readme(found))


def _mb(size: float, digits: int = 1) -> str:
    return f"{size / 1e6:.{digits}f}".removesuffix(".0")
