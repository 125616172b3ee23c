"""API keys: who they belong to, when they stop working, and what a process remembers of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.accounts import Accounts, Limits, new_api_key
from shared.dynamo import ConditionFailed
from shared.job import Hold, Millis
from tests.support.conflicts import listening
from tests.support.world import ALICE, BOB, LIMITS, START, World, job


def fresh(world: World) -> Accounts:
    """Give the accounts as a process sees them that has remembered nothing."""
    return Accounts(world.dynamo, world.accounts_table, defaults=LIMITS, now=world.clock)


def change(world: World, pk: str, **attributes: Any) -> None:
    item = world.everything()[f"{world.accounts_table}/{pk}"]
    changed = {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in attributes.items()
    }
    world.dynamodb.put_item(TableName=world.accounts_table, Item={**item, **changed})


def pk_of(world: World, tenant: str) -> str:
    items = world.dynamodb.scan(TableName=world.accounts_table)["Items"]
    return next(one["pk"]["S"] for one in items if one["pk"]["S"].startswith("key#") and one["tenant"]["S"] == tenant)


def test_a_key_belongs_to_its_tenant(world: World) -> None:
    for tenant in (ALICE, BOB):
        account = fresh(world).authenticate(world.keys[tenant])
        assert account is not None
        assert (account.tenant, account.limits) == (tenant, LIMITS)


def test_keys_are_kept_as_hashes_only(world: World) -> None:
    secret = world.keys[ALICE].rpartition("_")[2]
    assert secret not in repr(world.everything())


SPOILED: list[Callable[[str], str]] = [
    lambda _: "",
    lambda key: key[:-1],
    lambda key: key + "x",
    lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"),
    lambda key: key.upper(),
    lambda key: f" {key}",
    lambda key: key + "\n",
    lambda key: key.replace("alice", "bob"),
    lambda key: key.replace("alice", "alice#x"),
    lambda key: key.replace("alice", "nobody"),
    lambda key: key.replace("aft_", ""),
    lambda key: key.rpartition("_")[2],
    lambda _: f"account#{ALICE}",
    lambda _: "é" * 40,
    lambda _: "aft_alice_" + "٣" * 32,
    lambda _: "x" * 100_000,
    lambda _: "\ud800",
]


def test_anything_but_the_key_itself_is_refused(world: World) -> None:
    accounts = fresh(world)
    for spoil in SPOILED:
        spoiled = spoil(world.keys[ALICE])
        assert accounts.authenticate(spoiled) is None, spoiled[:50]


def test_a_key_that_was_never_given_out_is_refused(world: World) -> None:
    assert fresh(world).authenticate(new_api_key(ALICE)) is None


def test_a_key_works_only_while_its_item_names_its_tenant(world: World) -> None:
    change(world, pk_of(world, ALICE), tenant="bob")
    assert fresh(world).authenticate(world.keys[ALICE]) is None


def test_a_key_of_a_tenant_that_is_gone_is_refused(world: World) -> None:
    world.dynamodb.delete_item(TableName=world.accounts_table, Key={"pk": {"S": "account#alice"}})
    assert fresh(world).authenticate(world.keys[ALICE]) is None


def test_a_key_works_until_it_expires(world: World) -> None:
    key = world.accounts.create_key(ALICE, expires_at=Millis(START + 1_000))
    world.clock.at += 999
    assert fresh(world).authenticate(key) is not None
    world.clock.at += 1
    assert fresh(world).authenticate(key) is None


def test_a_revoked_key_is_refused(world: World) -> None:
    change(world, pk_of(world, ALICE), revoked_at=START)
    assert fresh(world).authenticate(world.keys[ALICE]) is None


def test_limits_of_its_own_replace_the_defaults_one_by_one(world: World) -> None:
    change(world, "account#alice", rate_per_minute=7)
    account = fresh(world).authenticate(world.keys[ALICE])
    assert account is not None
    assert account.limits == replace(LIMITS, rate_per_minute=7)


def test_what_was_read_is_believed_for_a_minute_and_no_longer(world: World) -> None:
    accounts, key = fresh(world), world.keys[ALICE]
    assert accounts.authenticate(key) is not None
    change(world, pk_of(world, ALICE), revoked_at=START)
    world.clock.at += 59_999
    assert accounts.authenticate(key) is not None
    world.clock.at += 1
    assert accounts.authenticate(key) is None
    assert accounts.authenticate(key) is None


def test_a_key_known_to_a_process_expires_at_its_end_too(world: World) -> None:
    key = world.accounts.create_key(ALICE, expires_at=Millis(START + 1_000))
    accounts = fresh(world)
    for _ in range(2):
        assert accounts.authenticate(key) is not None
        world.clock.go_on(0.5)
    assert accounts.authenticate(key) is None


def test_a_refusal_is_not_remembered(world: World) -> None:
    accounts, key = fresh(world), world.keys[ALICE]
    pk = pk_of(world, ALICE)
    change(world, pk, tenant="bob")
    assert accounts.authenticate(key) is None
    change(world, pk, tenant="alice")
    assert accounts.authenticate(key) is not None


def test_what_a_tenant_has_committed_is_read_along_by_day(world: World) -> None:
    account = fresh(world).authenticate(world.keys[ALICE])
    assert account is not None
    assert account.committed == {}
    world.ledger().admit(job(hold=Hold("20261101", 3_000)), account.limits)
    account = fresh(world).authenticate(world.keys[ALICE])
    assert account is not None
    assert account.committed == {"20261101": 3_000}


def test_a_process_reads_a_known_key_once(world: World) -> None:
    accounts, reads = fresh(world), []
    with listening(world, "before-call.dynamodb.BatchGetItem", lambda **_: reads.append(1)):
        for _ in range(5):
            accounts.authenticate(world.keys[ALICE])
    assert len(reads) == 1


def test_a_tenant_is_made_once(world: World) -> None:
    with pytest.raises(ConditionFailed):
        world.accounts.create_tenant(ALICE)


def test_a_tenants_name_is_plain(world: World) -> None:
    for name in ("", "Alice", "a_b", "-a", "a" * 49, "a b", "a#b", "ä", "a\n"):
        with pytest.raises(ValueError, match="tenant"):
            world.accounts.create_tenant(name)


def test_a_tenant_can_be_made_with_limits(world: World) -> None:
    world.accounts.create_tenant("carol", {"rate_per_minute": 1, "max_in_flight": 2, "daily_budget": 3})
    account = fresh(world).authenticate(world.accounts.create_key("carol"))
    assert account is not None
    assert account.limits == Limits(1, 2, 3)
    assert {"win": 0, "n": 0, "inflight": 0}.items() <= world.account("carol").items()
