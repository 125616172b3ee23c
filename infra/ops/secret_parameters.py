"""`secrets`: what only the functions may know, as SecureStrings of the Parameter Store. No command prints one."""

import secrets as random
from enum import StrEnum
from typing import Annotated, Any

import boto3
import typer

from infra.ops.command import Operator, Yes, command, group
from infra.ops.screen import OpsError
from shared.replicate_api import ReplicateApi

TOKEN, WEBHOOK_SECRET = "replicate-api-token", "replicate-webhook-secret"  # checkov:skip=CKV_SECRET_6: their names
KEYS = {
    "callback-key": "webhooks of predictions that run now are refused, and `reconcile` has to find their results",
    "link-key": "no link to a file that was given out works any more",
}
_REPLICATE = "https://api.replicate.com"
_KEY_BYTES = 32
_IN_A_MINUTE = "The function that verifies webhooks takes it within a minute."
_IN_HOURS = (
    "A process of a function reads this once, when it starts: some use the former one for hours. "
    "To have all of them start anew, deploy with another LogLevel."
)

app = group("What only the functions may know.")


class Secret(StrEnum):
    """What can be rotated."""

    TOKEN = "token"  # noqa: S105 - a name  # nosec B105
    WEBHOOK = "webhook"
    CALLBACK_KEY = "callback-key"
    LINK_KEY = "link-key"


Stage = Annotated[
    str | None, typer.Option(help="The parameter Stage of a deployment that is not there yet; else the stack tells it.")
]
Token = Annotated[str, typer.Option(prompt="Replicate API token", hide_input=True, envvar="REPLICATE_API_TOKEN")]


@command(app, "set")
def set_secrets(ops: Operator, token: Token, stage: Stage = None) -> None:
    """Store Replicate's token and the webhook secret that goes with it; make the signing keys if there are none."""
    place = _Place(ops, stage)
    # First, since a token that Replicate does not know is not worth storing.
    webhook_secret = place.webhook_secret(token)
    done = {TOKEN: place.put(TOKEN, token), WEBHOOK_SECRET: place.put(WEBHOOK_SECRET, webhook_secret)}
    for name in KEYS:
        # A new one would make the links and the webhook URLs that are out there invalid.
        done[name] = place.put(name, random.token_urlsafe(_KEY_BYTES), replace=False)
    _show(ops, place, done)


@command(app, "rotate")
def rotate(
    ops: Operator,
    secret: Annotated[Secret, typer.Argument(metavar="token|webhook|callback-key|link-key")],
    *,
    token: Annotated[
        str | None, typer.Option(envvar="NEW_REPLICATE_API_TOKEN", help="The new one; else it is asked for.")
    ] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Of webhook: drop the former secret, which is kept otherwise.")
    ] = False,
    stage: Stage = None,
    yes: Yes = False,
) -> None:
    """Replace a secret.

    token: make a new one at Replicate first, and delete the former there a day later. webhook: fetches what Replicate
    signs with now; both are accepted until it is called again with --only. The two keys: what they have signed is void.
    """
    place = _Place(ops, stage)
    done = {}
    match secret:
        case Secret.TOKEN:
            token = token or typer.prompt("Replicate API token", hide_input=True, err=True)
            signed_with = place.webhook_secret(token)
            done[TOKEN] = place.put(TOKEN, token)
            if signed_with not in place.get(WEBHOOK_SECRET).split():
                done[WEBHOOK_SECRET] = place.put(WEBHOOK_SECRET, _both(signed_with, place.get(WEBHOOK_SECRET)))
        case Secret.WEBHOOK:
            signed_with = place.webhook_secret(place.get(TOKEN))
            kept = signed_with if only else _both(signed_with, place.get(WEBHOOK_SECRET))
            done[WEBHOOK_SECRET] = place.put(WEBHOOK_SECRET, kept)
        case Secret.CALLBACK_KEY | Secret.LINK_KEY:
            ops.screen.confirm(f"Replace the {secret}? Then {KEYS[secret]}.", yes=yes)
            done[secret.value] = place.put(secret, random.token_urlsafe(_KEY_BYTES))
    _show(ops, place, done)
    ops.screen.say(_IN_A_MINUTE if secret is Secret.WEBHOOK else _IN_HOURS)


class _Place:
    """The parameters of one deployment."""

    def __init__(self, ops: Operator, stage: str | None) -> None:
        self._replicate_url = _REPLICATE if stage else ops.deployment.settings.replicate_api_url
        self.prefix = f"/afterimage/{stage or ops.deployment.stage}"
        self._ssm = boto3.client("ssm")

    def webhook_secret(self, token: str) -> str:
        """Ask Replicate what it signs with; that it answers proves the token."""
        found = ReplicateApi(token=token, base_url=self._replicate_url).webhook_secret()
        if not found:
            raise OpsError("Replicate has no webhook secret for this account.")
        return found

    def get(self, name: str) -> str:
        try:
            answer = self._ssm.get_parameter(Name=f"{self.prefix}/{name}", WithDecryption=True)
        except self._ssm.exceptions.ParameterNotFound:
            raise OpsError(f"There is no {self.prefix}/{name}: `secrets set` makes it.") from None
        return answer["Parameter"]["Value"]

    def put(self, name: str, value: str, *, replace: bool = True) -> str:
        """Store a value, and say what became of it."""
        try:
            self._ssm.put_parameter(Name=f"{self.prefix}/{name}", Value=value, Type="SecureString", Overwrite=replace)
        except self._ssm.exceptions.ParameterAlreadyExists:
            return "kept"
        return "set"


def _both(new: str, stored: str) -> str:
    """Give the new secret and the one before it: functions accept several, separated by spaces."""
    former = [one for one in stored.split() if one != new][:1]
    return " ".join([new, *former])


def _show(ops: Operator, place: _Place, done: dict[str, Any]) -> None:
    named = {f"{place.prefix}/{name}": what for name, what in done.items()}
    ops.screen.show(named, *(f"{name} {what}" for name, what in named.items()))
