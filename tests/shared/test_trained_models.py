"""What a training made is known from the transaction that ended it, to its tenant alone."""

from dataclasses import replace
from typing import Any

import pytest

from shared.job import Job, Kind, Millis, Outcome, PredictionId, Settled, Status, TenantId
from shared.trained_models import TrainedModel, TrainedModels, models_pk, registration
from tests.support.catalog import TRAINER, train, version_of
from tests.support.world import ALICE, BOB, LIMITS, START, World, job

A, B = version_of("a"), version_of("b")


def trained(world: World, tenant: str = ALICE) -> dict[str, TrainedModel]:
    return dict(TrainedModels(world.dynamo, world.accounts_table).of(TenantId(tenant)))


def training(**changes: Any) -> Job:
    fields = {"kind": Kind.TRAINING, "model": TRAINER, "input": {"trigger_word": "FOX"}, "destination": "acme/fox"}
    return job(**{**fields, **changes})


def ended(**changes: Any) -> Outcome:
    text = {"version": f"acme/fox:{A}", "weights": "https://replicate.delivery/x.tar"}
    return Outcome(**{"status": Status.SUCCEEDED, "completed_at": START, "cost": 5, "text": text, **changes})


def test_a_tenant_has_trained_nothing_at_first(world: World) -> None:
    assert trained(world) == {}


def test_what_was_trained_is_known_by_its_name(world: World) -> None:
    job_id = train(world, "acme/fox", A, word="FOX")
    assert trained(world) == {"acme/fox": TrainedModel("acme/fox", A, TRAINER, "FOX", job_id)}


def test_several_models_are_kept_and_the_latest_version_of_each(world: World) -> None:
    train(world, "acme/fox", A)
    train(world, "acme/bear", A)
    last = train(world, "acme/fox", B, word="VIXEN")
    assert {name: (one.version, one.trigger_word) for name, one in trained(world).items()} == {
        "acme/fox": (B, "VIXEN"),
        "acme/bear": (A, "FOX"),
    }
    assert trained(world)["acme/fox"].job_id == last


def test_tenants_do_not_see_each_others(world: World) -> None:
    train(world, "acme/fox", A)
    train(world, "acme/fox", B, tenant=BOB)
    assert trained(world)["acme/fox"].version == A
    assert trained(world, BOB)["acme/fox"].version == B
    assert trained(world, "carol") == {}


def test_it_is_written_by_the_transaction_that_ends_the_training_and_once(world: World) -> None:
    one = training()
    world.ledger().admit(one, LIMITS)
    one = world.put(replace(one, status=Status.STORING, lease="me", prediction_id=PredictionId("t1")))
    for lease, version, expected in (("you", B, None), ("me", A, A), ("me", B, A)):
        outcome = ended(text={"version": f"acme/fox:{version}"})
        world.ledger().settle(one, Settled(outcome=outcome, due_at=Millis(START + 99), lease=lease))
        known = trained(world).get("acme/fox")
        assert (known.version if known else None) == expected
    assert trained(world)["acme/fox"].job_id == one.id


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED])
def test_a_training_that_did_not_succeed_made_nothing(status: Status) -> None:
    assert registration("t", training(), ended(status=status)) is None


def test_a_prediction_makes_no_model() -> None:
    assert registration("t", job(), ended()) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        [],
        {},
        {"weights": "https://x"},
        {"version": None},
        {"version": 7},
        {"version": ""},
        {"version": ":"},
        {"version": "acme/fox:"},
        {"version": f"pk:{A}"},
    ],
)
def test_an_output_that_names_no_model_registers_none_and_ends_the_training_all_the_same(text: Any) -> None:
    assert registration("t", training(), ended(text=text)) is None


def test_a_version_alone_is_the_destinations(world: World) -> None:
    write = registration(world.accounts_table, training(), ended(text={"version": A}))
    assert write is not None
    world.dynamo.transact([write])
    assert trained(world)["acme/fox"].version == A
    assert registration("t", training(destination=None), ended(text={"version": A})) is None


@pytest.mark.parametrize("given", [{}, {"trigger_word": None}, {"trigger_word": 7}])
def test_a_trigger_word_that_was_not_given_is_not_made_up(world: World, given: dict[str, Any]) -> None:
    write = registration(world.accounts_table, training(input=given), ended())
    assert write is not None
    world.dynamo.transact([write])
    assert trained(world)["acme/fox"].trigger_word is None


def test_models_have_an_item_of_their_own(world: World) -> None:
    train(world)
    keys = {item["pk"]["S"] for item in world.dynamodb.scan(TableName=world.accounts_table)["Items"]}
    assert models_pk(ALICE) in keys
    assert "acme/fox" not in world.account()


def test_retired_models_are_nobodys(world: World) -> None:
    for tenant in (ALICE, BOB):
        one = training(tenant=tenant, destination=f"acme/Of-{tenant}")
        world.ledger().admit(one, LIMITS)
        train(world, f"acme/Of-{tenant}", A, tenant=tenant)
    models = TrainedModels(world.dynamo, world.accounts_table)
    assert [models.retire(ALICE) for _ in range(2)] == [[f"acme/of-{ALICE}"], []]
    assert trained(world) == {}
    assert models.owner(f"acme/of-{ALICE}") not in {ALICE, BOB, None}
    assert (list(trained(world, BOB)), models.owner(f"acme/Of-{BOB}")) == ([f"acme/Of-{BOB}"], BOB)
