"""What commands print: results on stdout, as tables or as JSON; everything else on stderr."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_WIDE = 200  # columns, where no terminal says how many there are: ids in a pipe are never cut
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


class OpsError(Exception):
    """Something that was asked for cannot be done; the message says why, and what to do."""


class Bar:
    """One progress bar, which may be invisible."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def step(self, by: float = 1) -> None:
        """Go on."""
        self._progress.advance(self._task, by)

    def say(self, *, done: float | None = None, total: float | None = None, what: str | None = None) -> None:
        """Say how far it is, of how much, and what is being done."""
        self._progress.update(self._task, completed=done, total=total, description=what)


class Screen:
    """Where one command prints."""

    def __init__(self, *, as_json: bool = False) -> None:
        """`as_json` has results printed for programs."""
        self.as_json = as_json
        width = None if sys.stdout.isatty() else _WIDE
        self._out = Console(width=width, markup=False, emoji=False, highlight=False)
        self._err = Console(stderr=True, markup=False, emoji=False, highlight=False)

    def show(self, document: Any, *renderables: RenderableType) -> None:  # noqa: ANN401
        """Print a result: as JSON the document, else the rest."""
        if self.as_json:
            typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
            return
        for renderable in renderables:
            self._out.print(renderable)

    def say(self, text: str) -> None:
        """Tell what is no part of the result."""
        self._err.print(text, soft_wrap=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only if the operator wants it; without an answer, nothing is done."""
        if not yes:
            typer.confirm(question, abort=True, err=True)

    @contextmanager
    def progress(self, what: str, total: float | None = None) -> Iterator[Bar]:
        """Show a bar while something long goes on, on a terminal only."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._err, transient=True, disable=not self._err.is_terminal) as progress:
            yield Bar(progress, progress.add_task(what, total=total))


def table(*columns: str, rows: Sequence[Sequence[Any]], title: str | None = None) -> Table:
    """Make a table; numbers are set to the right, None is empty."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for n, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[n], int | float | None) for row in rows)
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if hasattr(cell, "__rich_console__") else _text(cell) for cell in row))
    return made


def facts(**named: Any) -> Table:  # noqa: ANN401
    """Make a list of names and values; None is left out."""
    made = Table(box=None, pad_edge=False, show_header=False)
    for name, value in named.items():
        if value is not None:
            made.add_row(name.replace("_", " "), _text(value))
    return made


def _text(value: Any) -> str:  # noqa: ANN401
    return "" if value is None else str(value)


def clock(at: int | None) -> str | None:
    """Write a time in milliseconds for people: UTC, to the second."""
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def age(seconds: float) -> str:
    """Write a duration for people."""
    return str(timedelta(seconds=round(max(0, seconds))))


def parse_ago(text: str) -> int:
    """Read how long ago, such as 90m, 24h or 7d, into a time in milliseconds.

    Raises:
        typer.BadParameter: it is not that.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        raise typer.BadParameter("it is a number of minutes, hours or days, such as 90m, 24h or 7d")
    return round((time.time() - int(number) * _UNITS[unit]) * 1000)
