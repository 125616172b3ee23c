"""`costs`: what was spent adds up, whoever it was, and is plotted."""

from datetime import UTC, datetime, timedelta

from tests.infra.ops.conftest import Afterimage
from tests.support.world import World

DEV, SCHNELL = "black-forest-labs/flux-dev", "black-forest-labs/flux-schnell"


def spent(world: World, tenant: str, days_ago: int, **micro_usd: int) -> str:
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    amounts = {f"black-forest-labs/flux-{name}": {"N": str(amount)} for name, amount in micro_usd.items()}
    item = {"pk": {"S": f"spending#{tenant}#{day:%Y%m%d}"}, **amounts}
    world.dynamodb.put_item(TableName=world.accounts_table, Item=item)
    return day.isoformat()


def test_costs_add_up_by_day_tenant_and_model(afterimage: Afterimage, world: World) -> None:
    # The day may end while this runs: the present one is left alone.
    days = [spent(world, "alice", 1, dev=2_500_000, schnell=3_000), spent(world, "gone", 2, dev=500_000)]
    spent(world, "alice", 40, dev=9_000_000)
    costs = afterimage.json("costs", "--days", "10")
    assert costs["total_usd"] == 3.003
    assert {day: usd for day, usd in costs["by_day"].items() if usd} == {days[0]: 2.503, days[1]: 0.5}
    assert len(costs["by_day"]) == 10
    assert costs["by_tenant"] == {"alice": 2.503, "gone": 0.5}
    assert costs["by_model"] == {DEV: 3.0, SCHNELL: 0.003}
    assert {"day": days[1], "tenant": "gone", "model": DEV, "usd": 0.5} in costs["entries"]
    assert afterimage.json("costs", "--days", "10", "--tenant", "gone")["total_usd"] == 0.5
    assert afterimage.json("costs", "--days", "10", "--model", SCHNELL)["by_tenant"] == {"alice": 0.003}
    assert afterimage.json("costs", "--days", "60")["total_usd"] == 12.003


def test_the_plot_is_as_long_as_what_was_spent(afterimage: Afterimage, world: World) -> None:
    days = [spent(world, "alice", 1, dev=4_000_000), spent(world, "alice", 2, dev=1_000_000)]
    lines = {line.split()[0]: line.count("█") for line in afterimage("costs", "--days", "5").out.splitlines() if line}
    assert (lines[days[0]], lines[days[1]], lines["alice"]) == (40, 10, 40)
    assert afterimage("costs", "--days", "5", "--tenant", "nobody").out.count("█") == 0
