"""The operator's commands: `python -m infra.ops --help`."""

import secrets as random
import time
from typing import Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from shared.accounts import Accounts, Limits
from shared.dynamo import ConditionFailed, Dynamo
from shared.job import Millis
from shared.pricing import micro_usd

app = typer.Typer(no_args_is_help=True, add_completion=False)
secrets = typer.Typer(no_args_is_help=True, help="What only the functions may know.")
tenants = typer.Typer(no_args_is_help=True, help="Who may use this deployment.")
keys = typer.Typer(no_args_is_help=True, help="What tenants sign in with.")
app.add_typer(secrets, name="secrets")
app.add_typer(tenants, name="tenants")
app.add_typer(keys, name="keys")

Stage = Annotated[str, typer.Option(help="The deployment's parameter Stage.")]
StackName = Annotated[str, typer.Option(help="The name of the CloudFormation stack.")]

# Not read here: what holds for a tenant without limits of its own are the functions' settings.
_NO_LIMITS = Limits(rate_per_minute=0, max_in_flight=0, daily_budget=0)
_KEY_BYTES = 32


@secrets.command("set")
def set_secrets(
    token: Annotated[str, typer.Option(prompt="Replicate API token", hide_input=True, envvar="REPLICATE_API_TOKEN")],
    stage: Stage = "dev",
) -> None:
    """Store Replicate's token and the webhook secret that goes with it; make the signing keys if there are none."""
    from replicate.client import Client  # noqa: PLC0415 - no other command talks to Replicate

    webhook_secret = Client(api_token=token, base_url="https://api.replicate.com").webhooks.default.secret().key
    _put(stage, "replicate-api-token", token, replace=True)
    _put(stage, "replicate-webhook-secret", webhook_secret, replace=True)
    for name in ("callback-key", "link-key"):
        # A new one would make the links and the webhook URLs that are out there invalid.
        _put(stage, name, random.token_urlsafe(_KEY_BYTES), replace=False)


@tenants.command("create")
def create_tenant(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    stack: StackName = "afterimage-dev",
    rate_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(min=1, help="Unfinished jobs at a time.")] = None,
    daily_budget_usd: Annotated[str | None, typer.Option(help="US dollars a UTC day, such as 12.50.")] = None,
) -> None:
    """Create a tenant, with limits of its own where given, and print its first API key."""
    limits = {
        "rate_per_minute": rate_per_minute,
        "max_in_flight": max_in_flight,
        "daily_budget": None if daily_budget_usd is None else micro_usd(daily_budget_usd),
    }
    accounts = _accounts(stack)
    try:
        accounts.create_tenant(name, {name: value for name, value in limits.items() if value is not None})
    except ConditionFailed:
        raise typer.BadParameter(f"there is a tenant {name!r} already") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(accounts.create_key(name))


@tenants.command("rotate-webhook-secret")
def rotate_webhook_secret(
    name: str,
    stack: StackName = "afterimage-dev",
    overlap_hours: Annotated[float, typer.Option(min=0, help="Hours for which the former secret signs too.")] = 24,
) -> None:
    """Give a tenant a new secret for its own webhooks, and print it; until the overlap ends, both sign."""
    try:
        typer.echo(_accounts(stack).rotate_webhook_secret(name, overlap_hours * 3600))
    except ConditionFailed:
        raise typer.BadParameter(f"there is no tenant {name!r}") from None


@keys.command("create")
def create_key(tenant: str, stack: StackName = "afterimage-dev") -> None:
    """Create another API key for a tenant, and print it; it cannot be shown again."""
    typer.echo(_accounts(stack).create_key(tenant))


def main() -> None:
    """Run a command; what AWS refuses is said in a line."""
    try:
        app()
    except (BotoCoreError, ClientError) as error:
        typer.echo(f"AWS: {error}", err=True)
        raise SystemExit(1) from None


def _put(stage: str, name: str, value: str, *, replace: bool) -> None:
    path = f"/afterimage/{stage}/{name}"
    ssm = boto3.client("ssm")
    try:
        ssm.put_parameter(Name=path, Value=value, Type="SecureString", Overwrite=replace)
    except ssm.exceptions.ParameterAlreadyExists:
        typer.echo(f"{path} kept")
    else:
        typer.echo(f"{path} set")


def _accounts(stack: str) -> Accounts:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    dynamo = Dynamo(boto3.client("dynamodb"))
    return Accounts(
        dynamo, outputs["AccountsTable"], defaults=_NO_LIMITS, now=lambda: Millis(time.time_ns() // 1_000_000)
    )


if __name__ == "__main__":
    main()
