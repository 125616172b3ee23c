"""The limit towards Replicate: all processes together stay under it, slow down when told to, and recover."""

import random
from typing import Any

import pytest

from shared.dynamo import plain
from shared.upstream_limit import BATCHES, LEAST_RATE, LONGEST_PAUSE_S, MOST_LEASED, PK, TRIES, UpstreamLimit
from tests.support.conflicts import listening
from tests.support.world import START, World

MINUTE_S = 60


def process(world: World, rate: int = 600) -> UpstreamLimit:
    """Give the limit as a fresh process has it."""
    return UpstreamLimit(world.dynamo, world.accounts_table, rate=rate, now=world.clock)


def item(world: World) -> dict[str, int]:
    found = world.dynamo.get(world.accounts_table, PK) or {}
    return {name: int(plain(value)) for name, value in found.items() if "N" in value}


def put(world: World, **numbers: int) -> None:
    attributes: Any = {"pk": {"S": PK}, **{name: {"N": str(value)} for name, value in numbers.items()}}
    world.dynamodb.put_item(TableName=world.accounts_table, Item=attributes)


def drain(limit: UpstreamLimit) -> int:
    """Take until there is nothing more, and say how much there was."""
    taken = 0
    while limit.take() == 0:
        taken += 1
    return taken


# The window


def test_a_minute_grants_exactly_the_rate_and_says_when_the_next_begins(world: World) -> None:
    limit = process(world, rate=7)
    assert limit.take() == 0
    world.clock.go_on(20)
    assert drain(limit) == 6
    assert limit.take() == MINUTE_S - 20
    world.clock.go_on(MINUTE_S - 20.001)
    assert limit.take() == pytest.approx(0.001)
    world.clock.go_on(0.001)
    assert drain(limit) == 7


@pytest.mark.parametrize("rate", [5, 60, 210])
def test_several_processes_together_never_exceed_the_rate(world: World, rate: int) -> None:
    processes = [process(world, rate) for _ in range(4)]
    chosen = random.Random(rate)  # noqa: S311 - the same in every run
    granted = sum(chosen.choice(processes).take() == 0 for _ in range(rate + 20))
    granted += sum(map(drain, processes))
    assert granted == rate
    assert item(world)["used"] == rate


def test_permits_are_leased_in_batches_and_cost_no_write_each(world: World) -> None:
    writes = []
    limit = process(world, rate=5 * BATCHES)
    with listening(world, "before-call.dynamodb.UpdateItem", lambda **_: writes.append(1)):
        assert [limit.take() for _ in range(10)] == [0] * 10
    assert len(writes) == 2


def test_no_lease_is_so_large_that_much_of_it_is_left_unused(world: World) -> None:
    assert process(world, rate=66_000).take() == 0
    assert item(world)["used"] == MOST_LEASED


def test_leased_permits_end_with_their_minute(world: World) -> None:
    limit, other = process(world), process(world)
    assert (limit.take(), item(world)["used"]) == (0, 6)
    world.clock.go_on(MINUTE_S)
    assert limit.take() == 0
    assert item(world) == {"win": START + 60_000, "used": 6, "rate": 600}, "a new lease, of the new minute"
    assert drain(other) + drain(limit) == 600 - 1


def test_a_permit_that_was_not_used_can_be_used_by_the_next(world: World) -> None:
    limit = process(world, rate=1)
    assert limit.take() == 0
    assert limit.take() > 0
    limit.give_back()
    assert limit.take() == 0
    assert limit.take() > 0


def test_processes_that_lease_at_the_same_instant_do_not_lease_the_same(world: World) -> None:
    one, other = process(world, rate=10), process(world, rate=10)
    racing, granted = list[bool](), list[float]()

    def meanwhile(**_: Any) -> None:
        if not racing:
            racing.append(True)
            granted.extend(other.take() for _ in range(3))

    with listening(world, "before-call.dynamodb.UpdateItem", meanwhile):
        assert one.take() == 0
    assert granted == [0, 0, 0]
    assert item(world)["used"] == 4


def test_a_process_that_always_comes_too_late_asks_again_soon(world: World) -> None:
    limit = process(world)
    tries = []

    def meanwhile(**_: Any) -> None:
        tries.append(1)
        put(world, win=START, used=0, rate=100 + len(tries))

    with listening(world, "before-call.dynamodb.UpdateItem", meanwhile):
        assert limit.take() == 1.0
    assert len(tries) == TRIES


# Throttling


def test_when_replicate_throttles_all_processes_pause_and_the_rate_is_halved(world: World) -> None:
    one, other = process(world), process(world)
    assert one.take() == other.take() == 0
    one.throttled(30)
    assert one.take() == 30, "its own lease is gone"
    assert process(world).take() == 30
    assert item(world)["rate"] == 300
    world.clock.go_on(30)
    used = item(world)["used"]
    assert drain(one) == 300 - used


def test_what_other_processes_have_leased_is_all_that_they_still_send(world: World) -> None:
    one, other = process(world), process(world)
    assert one.take() == other.take() == 0
    one.throttled(30)
    assert drain(other) == 5


def test_the_first_of_many_that_are_throttled_speaks_for_all(world: World) -> None:
    processes = [process(world) for _ in range(5)]
    for n, one in enumerate(processes):
        one.throttled(30 + n)
    assert item(world) == {"rate": 300, "blocked_until": START + 30_000}
    world.clock.go_on(30)
    processes[0].throttled(10)
    assert item(world) == {"rate": 150, "blocked_until": START + 40_000}


def test_the_rate_never_falls_below_what_replicate_leaves_to_the_poor(world: World) -> None:
    limit = process(world, rate=20)
    for _ in range(4):
        limit.throttled(10)
        world.clock.go_on(10)
    assert item(world)["rate"] == LEAST_RATE
    assert drain(limit) == LEAST_RATE


def test_the_rate_grows_back_with_each_minute_without_throttling(world: World) -> None:
    limit = process(world, rate=40)
    assert limit.take() == 0
    limit.throttled(10)
    rates = []
    for _ in range(5):
        world.clock.go_on(MINUTE_S)
        rates.append(drain(limit))
    assert rates == [20, 30, 40, 40, 40], "the minute after the throttling does not count as one without"


def test_a_minute_with_throttling_does_not_raise_the_rate(world: World) -> None:
    limit = process(world, rate=100)
    for expected in (50, 25, 12):
        limit.take()
        limit.throttled(10)
        world.clock.go_on(MINUTE_S)
        limit.take()
        assert item(world)["rate"] == expected


def test_a_rate_that_was_lowered_by_configuration_holds_at_once(world: World) -> None:
    process(world, rate=600).take()
    world.clock.go_on(MINUTE_S)
    assert drain(process(world, rate=20)) == 20


# Outages


def test_a_pause_doubles_while_the_outage_lasts_up_to_a_minute(world: World) -> None:
    limit = process(world)
    waits = []
    for _ in range(7):
        limit.pause(5)
        waits.append(limit.take())
        world.clock.go_on(waits[-1])
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    assert LONGEST_PAUSE_S == 60
    assert "rate" not in item(world), "it was not too much: nothing is slowed down"


def test_a_pause_is_as_long_as_was_said_even_beyond_the_longest(world: World) -> None:
    limit = process(world)
    limit.pause(300)
    assert limit.take() == 300
    world.clock.go_on(300)
    limit.pause(300)
    assert limit.take() == 300


def test_after_a_quiet_minute_a_pause_is_short_again(world: World) -> None:
    limit = process(world)
    for _ in range(3):
        limit.pause(5)
        world.clock.go_on(limit.take())
    world.clock.go_on(MINUTE_S)
    limit.pause(5)
    assert limit.take() == 5


@pytest.mark.parametrize("streak", [6, 1_100, 10**9])
def test_an_outage_of_days_does_not_overflow(world: World, streak: int) -> None:
    put(world, blocked_until=START, streak=streak)
    limit = process(world)
    limit.pause(60.0)
    assert limit.take() == 60


def test_a_pause_does_not_shorten_one_that_is_going_on(world: World) -> None:
    limit = process(world)
    limit.throttled(30)
    process(world).pause(5)
    world.clock.go_on(5)
    assert limit.take() == 25
