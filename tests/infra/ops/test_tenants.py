"""`tenants` and `keys`: what is refused, and what asks first."""

import pytest

from shared.job import Millis, Status
from shared.services import now
from tests.infra.ops.conftest import Afterimage
from tests.support.world import ALICE, World, job


def test_a_tenant_without_limits_has_those_of_the_deployment(afterimage: Afterimage, world: World) -> None:
    world.parameters |= {"RatePerMinute": "9", "DailyBudgetUsd": "3"}
    shown = afterimage("tenants", "show", ALICE).out
    assert "9 (default)" in shown
    assert "0 of 3 (default)" in shown
    assert afterimage.json("tenants", "limits", ALICE)["own_limits"] == []


NONSENSE = (
    ("tenants", "limits", ALICE, "--default", "--rate-per-minute", "5"),
    ("tenants", "budget", ALICE, "5", "--default"),
    ("tenants", "budget", ALICE, "five"),
    ("tenants", "limits", ALICE, "--rate-per-minute", "0"),
    ("tenants", "create", "Not A Name"),
    ("keys", "expiry", "0123456789", "--never", "--expires-days", "1"),
    ("queues", "redrive"),
    ("queues", "redrive", "archive", "--all"),
    ("jobs", "list", "--since", "1w"),
    ("jobs", "list", "--status", "lost"),
    ("nothing",),
)


def test_what_makes_no_sense_is_refused_and_changes_nothing(afterimage: Afterimage, world: World) -> None:
    before = world.everything()
    for arguments in NONSENSE:
        assert "Usage" in afterimage(*arguments, status=2).err, arguments
    assert world.everything() == before


DESTRUCTIVE = (
    ("tenants", "delete", ALICE),
    ("keys", "revoke", "KEY"),
    ("jobs", "cancel", "JOB"),
    ("jobs", "retry", "JOB"),
    ("queues", "redrive", "--all"),
    ("secrets", "rotate", "link-key"),
    ("secrets", "rotate", "callback-key"),
)


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_what_destroys_something_asks_first(afterimage: Afterimage, world: World, typed: str) -> None:
    one = world.put(job(status=Status.QUEUED))
    before = world.everything()
    names = {"KEY": world.keys[ALICE], "JOB": one.id}
    for arguments in DESTRUCTIVE:
        run = afterimage(*(names.get(name, name) for name in arguments), answer=typed, status=1)
        assert "[y/N]" in run.err, arguments
        assert world.everything() == before


def test_no_tenant_gets_a_key_that_is_not_there_or_closed(afterimage: Afterimage, world: World) -> None:
    before = world.everything()
    assert "no tenant" in afterimage("keys", "create", "nobody", status=1).err
    assert "no tenant" in afterimage("tenants", "rotate-webhook-secret", "nobody", status=1).err
    assert world.everything() == before
    afterimage("tenants", "delete", ALICE, "--yes", "--no-wait", status=3)
    assert "closed" in afterimage("keys", "create", ALICE, status=1).err
    assert "closed" in afterimage("tenants", "list").out


def test_keys_are_shown_when_they_are_made_and_never_again(afterimage: Afterimage, world: World) -> None:
    made = afterimage("keys", "create", ALICE).out.strip()
    secret = made.rpartition("_")[2]
    for command in (("keys", "list"), ("keys", "expiry", made), ("keys", "revoke", made, "--yes"), ("tenants", "list")):
        run = afterimage(*command)
        assert secret not in run.out + run.err + afterimage(*command, "--json").out
    assert world.accounts.authenticate(made) is None


def test_a_key_that_is_over_is_not_rotated(afterimage: Afterimage, world: World) -> None:
    key = world.accounts.create_key(ALICE, expires_at=Millis(now() - 1_000))
    assert "expired" in afterimage("keys", "rotate", key, status=1).err
    assert afterimage.json("keys", "expiry", key)["state"] == "expired"


def test_the_deletion_of_a_tenant_says_what_it_waits_for(afterimage: Afterimage, world: World) -> None:
    world.put(job(status=Status.STORING))
    run = afterimage("tenants", "delete", ALICE, "--yes", "--no-wait", status=3)
    assert "1 jobs unfinished" in run.out
    document = afterimage.json("tenants", "delete", ALICE, "--yes", "--no-wait", status=3)
    assert (document["deleted"], document["jobs"]) == (False, {"unfinished": 1})
