"""Tenants and keys under administration: what the operator changes is what callers meet."""

import pytest

from shared.accounts import Accounts, Limits
from shared.errors import Code, Refusal
from shared.job import Millis, TenantId
from shared.tenants import KeyState, Tenants, Unknown
from tests.support.world import ALICE, BOB, LIMITS, START, World, job

CAROL = TenantId("carol")


def administered(world: World) -> Tenants:
    return Tenants(world.dynamo, world.accounts_table, defaults=LIMITS, now=world.clock)


def let_in(world: World, key: str) -> Limits | None:
    """Say within which limits a process lets a key in that has read nothing before."""
    accounts = Accounts(world.dynamo, world.accounts_table, defaults=LIMITS, now=world.clock)
    account = accounts.authenticate(key)
    return account.limits if account else None


def test_all_tenants_are_listed_with_the_limits_that_hold(world: World) -> None:
    world.accounts.create_tenant(CAROL, {"max_in_flight": 3})
    world.ledger().admit(job(tenant=CAROL), LIMITS)
    found = {one.name: one for one in administered(world).all()}
    assert list(found) == sorted(found)
    assert set(found) >= {ALICE, BOB, CAROL}
    carol = found[CAROL]
    assert carol.limits == Limits(LIMITS.rate_per_minute, 3, LIMITS.daily_budget)
    assert (carol.own_limits, carol.in_flight, carol.committed) == ({"max_in_flight": 3}, 1, 3_000)
    assert (found[ALICE].limits, found[ALICE].own_limits) == (LIMITS, {})
    assert administered(world).get(CAROL) == carol


def test_a_limit_is_given_and_taken_back(world: World) -> None:
    tenants = administered(world)
    own = {"rate_per_minute": 7, "daily_budget": 1_000_000}
    tenants.limit(ALICE, own)
    assert let_in(world, world.keys[ALICE]) == Limits(7, LIMITS.max_in_flight, 1_000_000)
    assert tenants.limit(ALICE, {"rate_per_minute": None}).own_limits == {"daily_budget": 1_000_000}
    assert let_in(world, world.keys[ALICE]) == Limits(LIMITS.rate_per_minute, LIMITS.max_in_flight, 1_000_000)


def test_of_a_tenant_that_is_not_there_nothing_is_made(world: World) -> None:
    before, tenants = world.everything(), administered(world)
    for ask in (tenants.get, tenants.close, lambda name: tenants.limit(name, {"rate_per_minute": 1})):
        with pytest.raises(Unknown, match="no tenant 'nobody'"):
            ask("nobody")
    assert world.everything() == before


def test_a_closed_tenant_is_let_in_no_more_and_nothing_of_it_is_admitted(world: World) -> None:
    tenants = administered(world)
    closed_at = tenants.close(ALICE)
    assert (closed_at, tenants.get(ALICE).closed_at) == (START, START)
    assert {key.state(START) for key in tenants.keys(ALICE)} == {KeyState.REVOKED}
    assert let_in(world, world.keys[ALICE]) is None
    # A process that has read the key a moment ago still lets it in: nothing comes of it.
    for counts in (True, False):
        with pytest.raises(Refusal) as refused:
            world.ledger().admit(job(), LIMITS, counts=counts)
        assert refused.value.code is Code.FORBIDDEN
    assert world.jobs_written() == []
    # Neither does a key that was made before anybody could stop it.
    assert let_in(world, world.accounts.create_key(ALICE)) is None
    assert let_in(world, world.keys[BOB]) == LIMITS


def test_a_tenant_is_closed_once(world: World) -> None:
    tenants = administered(world)
    tenants.close(ALICE)
    late = world.accounts.create_key(ALICE)
    world.clock.go_on(10)
    assert tenants.close(ALICE) == START
    assert tenants.find_key(late).revoked_at == START + 10_000


def test_what_ends_after_its_tenant_was_closed_is_settled(world: World) -> None:
    world.ledger().admit(job(), LIMITS)
    administered(world).close(ALICE)
    tenant = administered(world).get(ALICE)
    assert (tenant.in_flight, tenant.committed) == (1, 3_000)


def test_a_forgotten_tenant_leaves_the_others_alone(world: World) -> None:
    bobs = {name: item for name, item in world.everything().items() if "bob" in str(item)}
    administered(world).forget(ALICE)
    assert {name: item for name, item in world.everything().items() if world.accounts_table in name} == bobs


# Keys


def test_keys_are_listed_without_what_they_are(world: World) -> None:
    made = world.accounts.create_key(ALICE, expires_at=Millis(START + 5_000))
    keys = administered(world).keys(ALICE)
    assert [key.tenant for key in keys] == [ALICE, ALICE]
    assert made.rpartition("_")[2] not in repr(keys)
    assert {key.tenant for key in administered(world).keys(None)} >= {ALICE, BOB}
    (limited,) = [key for key in keys if key.valid_until is not None]
    assert limited.state(START) is KeyState.VALID
    assert limited.state(Millis(START + 5_000)) is KeyState.EXPIRED


def test_a_key_is_found_by_its_id_and_by_itself(world: World) -> None:
    tenants = administered(world)
    found = tenants.find_key(world.keys[ALICE])
    assert found.tenant == ALICE
    assert tenants.find_key(found.id) == tenants.find_key(found.id[:8]) == found


@pytest.mark.parametrize("given", ["", "0123456", "key#0123456789", "aft_alice_x", "0" * 64, "zzzzzzzzzz"])
def test_what_names_no_key_is_refused(world: World, given: str) -> None:
    with pytest.raises(Unknown):
        administered(world).find_key(given)


def test_an_id_that_several_keys_begin_with_is_refused(world: World) -> None:
    for n in range(2):
        item = {"pk": {"S": f"key#{'a' * 20}{n}"}, "tenant": {"S": ALICE}}
        world.dynamodb.put_item(TableName=world.accounts_table, Item=item)  # type: ignore[arg-type]
    with pytest.raises(Unknown, match="several"):
        administered(world).find_key("a" * 12)


def test_a_revoked_key_lets_nobody_in(world: World) -> None:
    tenants = administered(world)
    revoked = tenants.revoke(tenants.find_key(world.keys[ALICE]))
    assert let_in(world, world.keys[ALICE]) is None
    world.clock.go_on(1)
    assert tenants.revoke(revoked).revoked_at == START


def test_an_expiry_is_set_and_taken_back(world: World) -> None:
    tenants = administered(world)
    key = tenants.expire(tenants.find_key(world.keys[ALICE]), Millis(START + 1_000))
    world.clock.go_on(1)
    assert let_in(world, world.keys[ALICE]) is None
    tenants.expire(key, None)
    assert let_in(world, world.keys[ALICE]) == LIMITS


def test_a_rotated_key_lets_in_until_the_overlap_ends(world: World) -> None:
    tenants = administered(world)
    new = tenants.rotate(tenants.find_key(world.keys[ALICE]), world.accounts, overlap_s=60)
    assert let_in(world, world.keys[ALICE]) == let_in(world, new) == LIMITS
    world.clock.go_on(60)
    assert (let_in(world, world.keys[ALICE]), let_in(world, new)) == (None, LIMITS)


def test_a_rotation_makes_no_key_last_longer(world: World) -> None:
    tenants = administered(world)
    short = world.accounts.create_key(ALICE, expires_at=Millis(START + 1_000))
    tenants.rotate(tenants.find_key(short), world.accounts, overlap_s=3600)
    assert tenants.find_key(short).valid_until == START + 1_000


def test_a_key_that_is_gone_is_not_made_anew(world: World) -> None:
    tenants = administered(world)
    key = tenants.find_key(world.keys[ALICE])
    tenants.forget(ALICE)
    with pytest.raises(Unknown, match="no such key"):
        tenants.revoke(key)
    assert tenants.keys(ALICE) == []
