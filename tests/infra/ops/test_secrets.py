"""`secrets`: what is stored, what is kept, and that nothing is shown."""

import pytest

from tests.infra.ops.conftest import Afterimage, Upstream
from tests.support.replicate import TOKEN
from tests.support.world import SECRETS, WEBHOOK_SECRET, aws_session

pytestmark = [pytest.mark.sockets, pytest.mark.usefixtures("upstream")]

NEW_TOKEN, NEW_SECRET = "r8_new", "whsec_bmV3"


def forget(name: str) -> None:
    aws_session().client("ssm").delete_parameter(Name=f"/afterimage/dev/{name}")


def stored(prefix: str = "/afterimage/dev/") -> dict[str, str]:
    found = aws_session().client("ssm").get_parameters_by_path(Path=prefix, WithDecryption=True)["Parameters"]
    return {one["Name"].removeprefix(prefix): one["Value"] for one in found}


def test_a_token_is_stored_with_what_replicate_signs_with(afterimage: Afterimage, upstream: Upstream) -> None:
    upstream.tokens, upstream.signs_with = {NEW_TOKEN}, NEW_SECRET
    run = afterimage("secrets", "set", answer=f"{NEW_TOKEN}\n")
    assert stored() == SECRETS | {"replicate-api-token": NEW_TOKEN, "replicate-webhook-secret": NEW_SECRET}
    assert NEW_TOKEN not in run.out + run.err
    assert NEW_SECRET not in run.out + run.err
    assert "/afterimage/dev/link-key kept" in run.out


def test_keys_are_made_where_there_are_none(afterimage: Afterimage) -> None:
    for name in SECRETS:
        forget(name)
    afterimage("secrets", "set", "--token", TOKEN)
    made = stored()
    assert set(made) == set(SECRETS)
    assert len({made["callback-key"], made["link-key"]}) == 2
    assert min(len(made["callback-key"]), len(made["link-key"])) >= 43


def test_a_token_that_replicate_does_not_know_is_not_stored(afterimage: Afterimage) -> None:
    for command in ("set", "rotate token"):
        run = afterimage("secrets", *command.split(), "--token", "r8_wrong", status=1)
        assert run.err == "Replicate does not take it: credentials\n"
        assert stored() == SECRETS


def test_of_two_webhook_secrets_both_are_accepted_until_one_is_dropped(
    afterimage: Afterimage, upstream: Upstream
) -> None:
    upstream.signs_with = NEW_SECRET
    for _ in range(2):
        afterimage("secrets", "rotate", "webhook")
        assert stored()["replicate-webhook-secret"] == f"{NEW_SECRET} {WEBHOOK_SECRET}"
    afterimage("secrets", "rotate", "webhook", "--only")
    assert stored()["replicate-webhook-secret"] == NEW_SECRET


def test_a_token_of_another_account_brings_its_webhook_secret(afterimage: Afterimage, upstream: Upstream) -> None:
    upstream.tokens, upstream.signs_with = {NEW_TOKEN}, NEW_SECRET
    afterimage("secrets", "rotate", "token", answer=f"{NEW_TOKEN}\n")
    assert stored()["replicate-api-token"] == NEW_TOKEN
    assert stored()["replicate-webhook-secret"] == f"{NEW_SECRET} {WEBHOOK_SECRET}"


@pytest.mark.parametrize("name", ["callback-key", "link-key"])
def test_a_key_is_replaced_alone_and_not_shown(afterimage: Afterimage, name: str) -> None:
    run = afterimage("secrets", "rotate", name, "--yes")
    left = stored()
    assert left.pop(name) not in {SECRETS[name], *run.out.split()}
    assert left == {key: value for key, value in SECRETS.items() if key != name}


@pytest.mark.parametrize(
    ("command", "when"),
    [("webhook", "within a minute"), ("token --token r8_new", "for hours"), ("link-key --yes", "for hours")],
)
def test_it_is_said_when_functions_take_it(afterimage: Afterimage, upstream: Upstream, command: str, when: str) -> None:
    upstream.tokens = {*upstream.tokens, "r8_new"}
    assert when in afterimage("secrets", "rotate", *command.split()).err


def test_what_is_not_there_cannot_be_rotated(afterimage: Afterimage) -> None:
    forget("replicate-api-token")
    assert "`secrets set` makes it" in afterimage("secrets", "rotate", "webhook", status=1).err


def test_a_stage_can_be_named_before_it_is_deployed(afterimage: Afterimage) -> None:
    afterimage("secrets", "rotate", "link-key", "--stage", "prod", "--yes")
    assert set(stored("/afterimage/prod/")) == {"link-key"}
    assert stored() == SECRETS
