"""`keys`: what tenants sign in with. A key can be seen when it is made and never again; then its id names it."""

from typing import Annotated, Any

import typer

from infra.ops.command import Operator, Yes, command, group
from infra.ops.screen import OpsError, clock, table
from shared.job import Millis
from shared.manifest import iso
from shared.services import now
from shared.tenants import Key, KeyState

_DAY_S = 86_400

app = group("What tenants sign in with.")

KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The id that `keys list` shows, or the whole key.")]
Days = Annotated[float | None, typer.Option("--expires-days", min=0, help="Days after which it is not valid any more.")]


@command(app, "create")
def create(ops: Operator, tenant: str, expires_days: Days = None) -> None:
    """Create another API key for a tenant, and print it; it cannot be shown again."""
    deployment = ops.deployment
    if deployment.tenants.get(tenant).closed_at is not None:
        raise OpsError(f"{tenant!r} is closed.")
    key = deployment.accounts.create_key(tenant, expires_at=_in_days(expires_days))
    found = deployment.tenants.find_key(key)
    ops.screen.show({**_document(found), "api_key": key}, key)


@command(app, "list")
def list_keys(ops: Operator, tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]")] = None) -> None:
    """List the keys of a tenant, or of all."""
    found = ops.deployment.tenants.keys(tenant)
    rows = [
        (key.id, key.tenant, key.state(now()), clock(key.created_at), clock(key.valid_until), clock(key.revoked_at))
        for key in found
    ]
    shown = table("id", "tenant", "state", "created", "valid until", "revoked", rows=rows)
    ops.screen.show([_document(key) for key in found], shown)


@command(app, "rotate")
def rotate(
    ops: Operator,
    key: KeyName,
    overlap_hours: Annotated[float, typer.Option(min=0, help="Hours for which the former key is valid too.")] = 24,
) -> None:
    """Make a key that replaces another, and print it; until the overlap ends, both are valid."""
    deployment = ops.deployment
    former = deployment.tenants.find_key(key)
    if former.state(now()) is not KeyState.VALID:
        raise OpsError(f"This key is {former.state(now())}: nothing uses it. `keys create` makes a new one.")
    made = deployment.tenants.rotate(former, deployment.accounts, overlap_s=overlap_hours * 3600)
    document = _document(deployment.tenants.find_key(made))
    former = deployment.tenants.find_key(key)
    ops.screen.show({**document, "api_key": made, "replaces": former.id}, made)
    ops.screen.say(f"{former.id} is valid until {clock(former.valid_until)}.")


@command(app, "revoke")
def revoke(ops: Operator, key: KeyName, *, yes: Yes = False) -> None:
    """Make a key invalid, for good; within a minute nothing accepts it any more."""
    tenants = ops.deployment.tenants
    found = tenants.find_key(key)
    ops.screen.confirm(f"Revoke key {found.id} of {found.tenant!r}?", yes=yes)
    revoked = tenants.revoke(found)
    ops.screen.show(
        _document(revoked), f"{revoked.id} of {revoked.tenant} is revoked since {clock(revoked.revoked_at)}."
    )


@command(app, "expiry")
def expiry(
    ops: Operator,
    key: KeyName,
    *,
    expires_days: Days = None,
    never: Annotated[bool, typer.Option("--never", help="It is valid until it is revoked.")] = False,
) -> None:
    """Show until when a key is valid, or change that."""
    if never and expires_days is not None:
        raise typer.BadParameter("--never goes with no --expires-days")
    tenants = ops.deployment.tenants
    found = tenants.find_key(key)
    if never or expires_days is not None:
        found = tenants.expire(found, _in_days(expires_days))
    until = clock(found.valid_until) or "it is revoked"
    ops.screen.show(_document(found), f"{found.id} of {found.tenant} is {found.state(now())}, until {until}.")


def _in_days(days: float | None) -> Millis | None:
    return None if days is None else Millis(now() + round(days * _DAY_S * 1000))


def _document(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "state": key.state(now()),
        "created_at": iso(key.created_at),
        "valid_until": iso(key.valid_until),
        "revoked_at": iso(key.revoked_at),
    }
