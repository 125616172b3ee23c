"""`python -m infra.deploy --help`."""

from pathlib import Path
from typing import Annotated

import httpx
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.deploy.deploying import deploy
from infra.deploy.destroying import destroy
from infra.deploy.target import CONFIG, read_target
from infra.ops.command import explain
from infra.ops.screen import OpsError
from shared.errors import AfterimageError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Deployments on AWS.")

Stage = Annotated[str, typer.Option(envvar="STAGE", help="A section of the configuration.")]
Config = Annotated[Path, typer.Option(help="Settings of sam.", exists=True, resolve_path=True)]
Parameter = Annotated[
    list[str] | None,
    typer.Option("--parameter", metavar="NAME=VALUE", help="Over those of the configuration; can be given repeatedly."),
]


@app.command("deploy")
def deploy_(
    stage: Stage = "dev",
    config: Config = CONFIG,
    parameter: Parameter = None,
    built: Annotated[Path | None, typer.Option(help="What was built before.", exists=True, resolve_path=True)] = None,
    tenant: Annotated[str, typer.Option(help="Name of the first tenant, if there is none.")] = "first",
    *,
    unattended: Annotated[bool, typer.Option("--unattended", help="Ask nothing, and make no tenant.")] = False,
) -> None:
    """Deploy, or deploy again; ends with a request to paste."""
    deploy(read_target(stage, parameter or [], config), tenant=tenant, built=built, unattended=unattended)


@app.command("destroy")
def destroy_(
    stage: Stage = "dev",
    config: Config = CONFIG,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Say what stays and what it costs, and delete the stack."""
    destroy(read_target(stage, config=config), yes=yes)


def main() -> None:
    """Run a command; what goes wrong is said in a line."""
    try:
        app(prog_name="python -m infra.deploy")
    except (OpsError, AfterimageError, BotoCoreError, ClientError, httpx.HTTPError) as error:
        typer.echo(explain(error), err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
