"""Raises every alarm on the local stack, and says what was seen: `python -m tests.drill --help`."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Column, Table

from infra.local.stack import LocalStack
from tests.drill.breaks import BREAKS
from tests.drill.drill import Drill, Raised

WIDTH = 180


def main() -> int:
    """Give 1 if a metric did not cross its alarm's threshold."""
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--alarm", choices=[one.alarm for one in BREAKS], action="append", help="only this one")
    wanted = parser.parse_args().alarm
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    raised: list[Raised] = []
    with LocalStack() as stack, Drill(stack) as drill:
        for one in BREAKS:
            if wanted is None or one.alarm in wanted:
                raised.append(drill.raise_(one))
                console.print(f"{one.alarm}: {'raised' if raised[-1].crossed else 'NOT raised'}")
    metric = Column("metric", overflow="fold")
    table = Table("alarm", "what was broken", metric, "seen", "threshold", "raised", "mended", "repaired with")
    for seen in raised:
        table.add_row(*_row(seen))
    console.print(table)
    return int(not all(seen.crossed for seen in raised))


def _row(raised: Raised) -> tuple[str, ...]:
    limit = f"{raised.comparison} {_number(raised.threshold)}"
    if raised.one.threshold is not None:
        limit = f"{raised.comparison} {_number(raised.one.threshold)} (outside of drills {_number(raised.threshold)})"
    return (
        raised.one.alarm,
        raised.one.what,
        f"{raised.metric}, {raised.statistic}",
        "no data" if raised.value is None else _number(raised.value),
        limit,
        "yes" if raised.crossed else "NO",
        "" if raised.after is None else _number(raised.after),
        "\n".join(raised.repairs),
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


if __name__ == "__main__":
    sys.exit(main())
