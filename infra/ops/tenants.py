"""`tenants`: who may use a deployment, how much, and what is theirs."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.ops.command import NOT_YET, Operator, Yes, command, group
from infra.ops.exporting import export
from infra.ops.screen import OpsError, age, clock, facts, table
from shared import services
from shared.dynamo import ConditionFailed
from shared.job import TenantId
from shared.manifest import iso
from shared.pricing import MICRO, micro_usd, usd
from shared.removing import Remover, Stage
from shared.services import now
from shared.tenants import KeyState, Tenant

_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 15.0

app = group("Who may use this deployment, how much, and what is theirs.")

Name = Annotated[str, typer.Argument(metavar="TENANT")]
Rate = Annotated[int | None, typer.Option("--rate-per-minute", min=1, help="Requests a minute.")]
InFlight = Annotated[int | None, typer.Option("--max-in-flight", min=1, help="Unfinished jobs at a time.")]
Usd = Annotated[str | None, typer.Option("--daily-budget-usd", help="US dollars a UTC day, such as 12.50.")]
Default = Annotated[bool, typer.Option("--default", help="No own ones any more, but what holds for everybody.")]


@command(app, "create")
def create(
    ops: Operator,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Lower-case letters, digits and hyphens.")],
    rate_per_minute: Rate = None,
    max_in_flight: InFlight = None,
    daily_budget_usd: Usd = None,
) -> None:
    """Create a tenant, with limits of its own where given, and print its first API key."""
    limits = {"rate_per_minute": rate_per_minute, "max_in_flight": max_in_flight}
    if daily_budget_usd is not None:
        limits["daily_budget"] = _amount(daily_budget_usd)
    accounts = ops.deployment.accounts
    try:
        accounts.create_tenant(tenant, {name: value for name, value in limits.items() if value is not None})
    except ConditionFailed:
        raise OpsError(f"There is a tenant {tenant!r} already.") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    key = accounts.create_key(tenant)
    ops.screen.show({"tenant": tenant, "api_key": key}, key)


@command(app, "list")
def list_tenants(ops: Operator) -> None:
    """List all tenants, with what they may use and do use."""
    found = ops.deployment.tenants.all()
    rows = [
        (
            one.name,
            one.limits.rate_per_minute,
            f"{one.in_flight}/{one.limits.max_in_flight}",
            f"{usd(one.committed)}/{usd(one.limits.daily_budget)}",
            clock(one.created_at),
            "closed" if one.closed_at else "",
        )
        for one in found
    ]
    shown = table("tenant", "a minute", "in flight", "USD today", "created", "", rows=rows)
    ops.screen.show([_document(one) for one in found], shown)


@command(app, "show")
def show(ops: Operator, tenant: Name) -> None:
    """Show a tenant: limits, what it uses, its keys, and what it has trained."""
    deployment = ops.deployment
    found = deployment.tenants.get(tenant)
    keys = deployment.tenants.keys(tenant)
    models = deployment.trained.of(TenantId(tenant))
    valid = sum(key.state(now()) is KeyState.VALID for key in keys)
    document = _document(found) | {"keys": len(keys), "valid_keys": valid, "trained_models": sorted(models)}
    ops.screen.show(
        document,
        facts(
            tenant=found.name,
            created=clock(found.created_at),
            closed=clock(found.closed_at),
            requests_a_minute=_limit(found, "rate_per_minute", found.limits.rate_per_minute),
            jobs_in_flight=f"{found.in_flight} of {_limit(found, 'max_in_flight', found.limits.max_in_flight)}",
            USD_today=f"{usd(found.committed)} of {_limit(found, 'daily_budget', usd(found.limits.daily_budget))}",
            keys=f"{len(keys)}, {valid} of them valid",
            trained_models=", ".join(sorted(models)) or "none",
        ),
    )


@command(app, "limits")
def limits(
    ops: Operator,
    tenant: Name,
    *,
    rate_per_minute: Rate = None,
    max_in_flight: InFlight = None,
    default: Default = False,
) -> None:
    """Show a tenant's limits, or change them; functions heed it within a minute."""
    given: dict[str, int | None] = {
        name: value
        for name, value in (("rate_per_minute", rate_per_minute), ("max_in_flight", max_in_flight))
        if value is not None
    }
    if default and given:
        raise typer.BadParameter("--default goes with no other limit")
    _change(ops, tenant, dict.fromkeys(("rate_per_minute", "max_in_flight")) if default else given)


@command(app, "budget")
def budget(
    ops: Operator,
    tenant: Name,
    usd_a_day: Annotated[
        str | None, typer.Argument(metavar="[USD]", help="US dollars a UTC day, such as 12.50.")
    ] = None,
    *,
    default: Default = False,
) -> None:
    """Show a tenant's daily budget, or change it; functions heed it within a minute."""
    if default and usd_a_day is not None:
        raise typer.BadParameter("--default goes with no amount")
    given: dict[str, int | None] = {} if usd_a_day is None else {"daily_budget": _amount(usd_a_day)}
    _change(ops, tenant, {"daily_budget": None} if default else given)


@command(app, "rotate-webhook-secret")
def rotate_webhook_secret(
    ops: Operator,
    tenant: Name,
    overlap_hours: Annotated[float, typer.Option(min=0, help="Hours for which the former secret signs too.")] = 24,
) -> None:
    """Give a tenant a new secret for its own webhooks, and print it; until the overlap ends, both sign."""
    try:
        secret = ops.deployment.accounts.rotate_webhook_secret(tenant, overlap_hours * 3600)
    except ConditionFailed:
        raise OpsError(f"There is no tenant {tenant!r}.") from None
    ops.screen.show({"tenant": tenant, "webhook_secret": secret}, secret)


@command(app, "export")
def export_tenant(
    ops: Operator,
    tenant: Name,
    out: Annotated[Path, typer.Option("--out", help="A folder, or a file that ends in .tar or .tar.gz.")],
) -> None:
    """Write down all of a tenant's: its jobs, one line of JSON each, manifests, files, inputs and uploads.

    What is interrupted goes on where it was when it is called again. It holds what callers wrote: keep it safe.
    """
    deployment = ops.deployment
    found = deployment.tenants.get(tenant)
    with ops.screen.progress(f"exporting {tenant}") as bar:
        done = export(deployment, found.name, _document(found), out, bar)
    document = {"tenant": tenant, "out": str(out), **done.document}
    ops.screen.show(document, facts(**document | {"missing": len(done.missing)}))
    if done.missing:
        raise OpsError("Not everything that the jobs name is in the bucket: " + ", ".join(done.missing[:10]))


@command(app, "delete")
def delete(
    ops: Operator,
    tenant: Name,
    *,
    yes: Yes = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, for a minute and a half at least.")] = True,
) -> None:
    """Delete a tenant and all that is its own, for good; what it spent stays in the books.

    Its keys are revoked first, its unfinished jobs canceled, each job deleted as its owner would; then go uploads,
    trained models and the account. What is interrupted goes on when it is called again. Status 3: not done yet.
    """
    deployment = ops.deployment
    name = deployment.tenants.get(tenant).name
    ops.screen.confirm(f"Delete {tenant!r} and all its jobs, files and keys, for good?", yes=yes)
    with deployment.wired_as("CancelFunction"):
        canceler = services.cancel().canceler
    remover = Remover(
        name,
        tenants=deployment.tenants,
        jobs=deployment.jobs,
        canceler=canceler,
        archive=deployment.archive_queue,
        uploads=deployment.uploads,
        files=deployment.files,
        trained=deployment.trained,
        now=now,
    )
    pause = _FIRST_WAIT_S
    with ops.screen.progress(f"deleting {tenant}") as bar:
        while not (sweep := remover.sweep()).is_done and wait:
            bar.say(done=sweep.jobs.get(Stage.GONE, 0), total=sum(sweep.jobs.values()) or None)
            pause = min(pause * 2, _LONGEST_WAIT_S)
            time.sleep(pause)
    document: dict[str, Any] = {
        "tenant": tenant,
        "deleted": sweep.is_done,
        "jobs": dict(sweep.jobs),
        "until": iso(sweep.until),
        "models_at_replicate": list(sweep.models),
    }
    if not sweep.is_done:
        left = ", ".join(f"{count} jobs {stage}" for stage, count in sweep.jobs.items() if stage is not Stage.GONE)
        if sweep.until is not None:
            left = f"what was begun before it was closed can come in for {age((sweep.until - now()) / 1000)}"
        ops.screen.show(document, f"Closed, but not deleted yet: {left}. Call it again.")
        raise typer.Exit(NOT_YET)
    ops.screen.show(document, f"Deleted: {tenant}, with {sum(sweep.jobs.values())} jobs.")
    if sweep.models:
        ops.screen.say(f"Still at Replicate, where only you can delete them: {', '.join(sweep.models)}")


def _change(ops: Operator, tenant: str, changes: dict[str, int | None]) -> None:
    tenants = ops.deployment.tenants
    found = tenants.limit(tenant, changes) if changes else tenants.get(tenant)
    ops.screen.show(
        _document(found),
        facts(
            requests_a_minute=_limit(found, "rate_per_minute", found.limits.rate_per_minute),
            jobs_in_flight=_limit(found, "max_in_flight", found.limits.max_in_flight),
            USD_a_day=_limit(found, "daily_budget", usd(found.limits.daily_budget)),
        ),
    )


def _limit(tenant: Tenant, name: str, value: int | str) -> str:
    return f"{value}" if name in tenant.own_limits else f"{value} (default)"


def _amount(text: str) -> int:
    try:
        return micro_usd(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _document(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant": tenant.name,
        "rate_per_minute": tenant.limits.rate_per_minute,
        "max_in_flight": tenant.limits.max_in_flight,
        "daily_budget_usd": tenant.limits.daily_budget / MICRO,
        "own_limits": sorted(tenant.own_limits),
        "in_flight": tenant.in_flight,
        "committed_today_usd": tenant.committed / MICRO,
        "day": datetime.fromtimestamp(now() / 1000, UTC).date().isoformat(),
        "created_at": iso(tenant.created_at),
        "closed_at": iso(tenant.closed_at),
    }
