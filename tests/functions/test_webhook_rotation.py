"""`webhook`: Replicate's signing secret can be replaced while processes live, and an outage takes none away."""

import pytest

from shared import services
from tests.support.replicate import prediction
from tests.support.world import WEBHOOK_SECRET, World, adopted

NEW = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
NAME = "/afterimage/dev/replicate-webhook-secret"
DONE = prediction("p1", "failed", error="it went wrong")


def test_both_secrets_are_heard_while_one_replaces_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.put(adopted("p1"))
    assert world.webhook(one.id, DONE).status == 200
    assert world.webhook(one.id, DONE, secret=NEW).status == 401
    world.ssm.put_parameter(Name=NAME, Value=f"{WEBHOOK_SECRET} {NEW}", Type="SecureString", Overwrite=True)
    monkeypatch.setattr(services, "SECRETS_KEPT_S", 0.0)
    for secret in (WEBHOOK_SECRET, NEW):
        assert world.webhook(one.id, DONE, secret=secret).status == 200
    world.ssm.put_parameter(Name=NAME, Value=NEW, Type="SecureString", Overwrite=True)
    assert world.webhook(one.id, DONE, secret=NEW).status == 200
    assert world.webhook(one.id, DONE).status == 401


def test_what_was_read_stands_while_nothing_can_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.put(adopted("p1"))
    assert world.webhook(one.id, DONE).status == 200
    world.ssm.delete_parameter(Name=NAME)
    monkeypatch.setattr(services, "SECRETS_KEPT_S", 0.0)
    assert world.webhook(one.id, DONE).status == 200
    assert world.webhook(one.id, DONE, secret=NEW).status == 401
