"""The secrets that sign callers' webhooks: each tenant has its own, sees no other, and can change it in peace."""

import base64
from typing import Any

import pytest

from shared.accounts import Accounts
from shared.dynamo import ConditionFailed, Expression
from shared.errors import Contended
from shared.job import Millis
from shared.signatures import decode_secret
from tests.support.conflicts import Conflicts, listening
from tests.support.problems import check_problem
from tests.support.world import ALICE, BOB, LIMITS, World

PATH = "/v1/webhooks/default/secret"


def shown(world: World, tenant: str = ALICE) -> str:
    answer = world.request("GET", PATH, key=world.keys[tenant])
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    (key,) = answer.json.values()
    assert answer.json == {"key": key}
    return str(key)


def forget(world: World, tenant: str = ALICE) -> None:
    """Let there be a tenant that was made before there were secrets."""
    expression = Expression()
    expression.remove("webhook_secret")
    world.dynamo.update(world.accounts_table, f"account#{tenant}", expression)


def test_a_tenant_is_made_with_a_secret_of_its_own(world: World) -> None:
    alice, bob = shown(world), shown(world, BOB)
    assert alice != bob
    for secret in (alice, bob):
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) >= 24
        assert decode_secret(secret)
    assert world.accounts.webhook_secrets(ALICE) == [alice]


def test_nobody_sees_a_secret_without_a_key(world: World) -> None:
    check_problem(world.request("GET", PATH), 401, "unauthorized", instance=PATH)
    check_problem(world.request("GET", PATH, key=f"{world.keys[ALICE]}x"), 401, "unauthorized", instance=PATH)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_read(world: World, method: str) -> None:
    before = shown(world)
    assert world.request(method, PATH, key=world.keys[ALICE]).status in {404, 422}
    assert shown(world) == before


def test_while_a_secret_is_replaced_both_are_active(world: World) -> None:
    former = shown(world)
    new = world.accounts.rotate_webhook_secret(ALICE, 60)
    assert new != former
    assert shown(world) == new
    world.clock.go_on(59.9)
    assert world.accounts.webhook_secrets(ALICE) == [new, former]
    world.clock.go_on(0.1)
    assert world.accounts.webhook_secrets(ALICE) == [new]


def test_without_an_overlap_the_former_one_is_over_at_once(world: World) -> None:
    new = world.accounts.rotate_webhook_secret(ALICE, 0)
    assert world.accounts.webhook_secrets(ALICE) == [new]


def test_a_second_replacement_ends_the_overlap_of_the_first(world: World) -> None:
    world.accounts.rotate_webhook_secret(ALICE, 3600)
    second = world.accounts.rotate_webhook_secret(ALICE, 60)
    third = world.accounts.rotate_webhook_secret(ALICE, 60)
    assert world.accounts.webhook_secrets(ALICE) == [third, second]


def test_replacing_one_changes_nothing_else(world: World) -> None:
    before, others = world.account(), shown(world, BOB)
    world.accounts.rotate_webhook_secret(ALICE, 60)
    after = world.account()
    del after["former_webhook_secret_until"]
    assert after == before
    assert shown(world, BOB) == others
    assert world.request("GET", "/v1/predictions", key=world.keys[ALICE]).status == 200


def test_a_tenant_without_one_is_told_so_and_gets_one_by_replacing_it(world: World) -> None:
    forget(world)
    refusal = world.request("GET", PATH, key=world.keys[ALICE])
    check_problem(refusal, 404, "not_found", instance=PATH)
    assert "rotate-webhook-secret" in refusal.json["detail"]
    new = world.accounts.rotate_webhook_secret(ALICE, 60)
    assert (shown(world), world.accounts.webhook_secrets(ALICE)) == (new, [new])


def test_a_tenant_that_is_not_there_is_not_made(world: World) -> None:
    before = world.everything()
    with pytest.raises(ConditionFailed):
        world.accounts.rotate_webhook_secret("nobody", 60)
    assert world.everything() == before


@pytest.mark.parametrize("has_secret", [True, False])
def test_two_who_replace_it_at_once_both_succeed(world: World, *, has_secret: bool) -> None:
    if not has_secret:
        forget(world)
    other = Accounts(world.dynamo, world.accounts_table, defaults=LIMITS, now=lambda: Millis(world.clock()))
    met: list[str] = []

    def interrupt(**_: Any) -> None:
        if not met:
            met.append("")
            met[0] = other.rotate_webhook_secret(ALICE, 60)

    with listening(world, "before-call.dynamodb.UpdateItem", interrupt):
        new = world.accounts.rotate_webhook_secret(ALICE, 60)
    assert world.accounts.webhook_secrets(ALICE) == [new, *met]


def test_conflicts_with_admissions_are_waited_for(world: World) -> None:
    with Conflicts(world, "UpdateItem", times=2) as conflicts:
        new = world.accounts.rotate_webhook_secret(ALICE, 60)
    assert conflicts.met == 2
    assert shown(world) == new
    with Conflicts(world, "UpdateItem"), pytest.raises(Contended):
        world.accounts.rotate_webhook_secret(ALICE, 60)
