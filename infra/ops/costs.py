"""`costs`: what was spent, by day, tenant and model."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.bar import Bar
from rich.console import RenderableType

from infra.ops.command import Operator
from infra.ops.screen import table
from shared.pricing import MICRO, usd

_WIDTH = 40  # columns of the longest bar


def costs(
    ops: Operator,
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="UTC days, today included.")] = 30,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model's, as owner/name.")] = None,
) -> None:
    """Show what jobs that have ended did cost, by day, tenant and model; what was reserved for others is not in it.

    A job counts on the day on which it was accepted. Tenants that were deleted are in it.
    """
    today = datetime.now(UTC).date()
    first = today - timedelta(days=days - 1)
    entries = [
        (date.fromisoformat(day), who, what, amount)
        for who, day, by_model in ops.deployment.ledger.books(since=first.strftime("%Y%m%d"))
        for what, amount in by_model.items()
        if tenant in {None, who} and model in {None, what} and date.fromisoformat(day) <= today
    ]
    by_day = Counter({(first + timedelta(days=n)).isoformat(): 0 for n in range(days)})
    by_tenant: Counter[str] = Counter()
    by_model: Counter[str] = Counter()
    for day, who, what, amount in entries:
        by_day[day.isoformat()] += amount
        by_tenant[who] += amount
        by_model[what] += amount
    total = sum(by_tenant.values())
    document = {
        "since": first.isoformat(),
        "until": today.isoformat(),
        "total_usd": total / MICRO,
        "by_day": _usd(by_day),
        "by_tenant": _usd(by_tenant),
        "by_model": _usd(by_model),
        "entries": [
            {"day": day.isoformat(), "tenant": who, "model": what, "usd": amount / MICRO}
            for day, who, what, amount in sorted(entries)
        ],
    }
    ops.screen.show(
        document,
        _plot("day", dict(sorted(by_day.items()))),
        "",
        _plot("tenant", dict(by_tenant.most_common())),
        "",
        _plot("model", dict(by_model.most_common())),
        "",
        f"{usd(total)} USD from {first} to {today}",
    )


def _usd(amounts: Mapping[str, int]) -> dict[str, float]:
    return {name: amount / MICRO for name, amount in sorted(amounts.items())}


def _plot(what: str, amounts: Mapping[str, int]) -> RenderableType:
    most = max(amounts.values(), default=0) or 1
    rows = [(name, usd(amount), Bar(most, 0, amount, width=_WIDTH)) for name, amount in amounts.items()]
    return table(what, "USD", "", rows=rows)
