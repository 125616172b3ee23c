"""How commands are made: each has the options that all have, and is given what they lead to; errors become a line."""

import inspect
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Annotated, Any, Concatenate

import httpx
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.ops.deployment import Deployment
from infra.ops.screen import OpsError, Screen
from shared.errors import AfterimageError, UpstreamNotTaken, UpstreamRefused, UpstreamUnclear

NOT_YET = 3  # the exit status of what is not done yet, and goes on by itself or when asked again
DEFAULT_STACK = "afterimage-dev"
Stack = Annotated[
    str, typer.Option("--stack", envvar="AFTERIMAGE_STACK", help="The deployment, by its CloudFormation stack.")
]
Local = Annotated[bool, typer.Option("--local", help="The local stack that `make run` has started.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
_EXPECTED = (OpsError, AfterimageError, BotoCoreError, ClientError, httpx.HTTPError)


class Operator:
    """What a command works with."""

    def __init__(self, screen: Screen, find: Callable[[], Deployment]) -> None:
        """The deployment is looked for when it is needed."""
        self.screen = screen
        self._find = find

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment that the command is about."""
        return self._find()


def group(text: str) -> typer.Typer:
    """Make a group of commands."""
    return typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=text)


def command[**P](
    app: typer.Typer, name: str
) -> Callable[[Callable[Concatenate[Operator, P], None]], Callable[Concatenate[Operator, P], None]]:
    """Make a function a command: what it takes after the operator are its own arguments and options."""

    def register(run: Callable[Concatenate[Operator, P], None]) -> Callable[Concatenate[Operator, P], None]:
        _, *own = inspect.signature(run).parameters.values()

        @wraps(run)
        def invoke(ctx: typer.Context, stack: str, local: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401, FBT001
            try:
                # At once, so that nothing of what follows can reach the real AWS. Tests give one of their own.
                there = ctx.obj or (Deployment.local() if local else None)
                find = (lambda: there) if there else lambda: Deployment.find(stack)
                run(Operator(Screen(as_json=as_json), find), **given)  # type: ignore[call-arg]
            except _EXPECTED as error:
                typer.echo(explain(error), err=True)
                raise typer.Exit(1) from None

        parameters = [
            _keyword("ctx", typer.Context, inspect.Parameter.empty),
            *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own),
            _keyword("stack", Stack, DEFAULT_STACK),
            _keyword("local", Local, False),
            _keyword("as_json", AsJson, False),
        ]
        # What Typer reads.
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(name)(invoke)
        return run

    return register


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:  # noqa: ANN401
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def explain(error: Exception) -> str:
    """Say in a line what went wrong."""
    match error:
        case UpstreamRefused(status=status, detail=detail):
            return f"Replicate refuses ({status}): {detail}"
        case UpstreamNotTaken(cause=cause):
            return f"Replicate does not take it: {cause}"
        case UpstreamUnclear():
            return f"Replicate gives no clear answer: {error}"
        case BotoCoreError() | ClientError():
            return f"AWS: {error}"
        case httpx.HTTPError():
            return f"No answer from {_url(error)}: {error or type(error).__name__}"
    return str(error)


def _url(error: httpx.HTTPError) -> str:
    try:
        return str(error.request.url.copy_with(query=None))
    except RuntimeError:
        return "there"
