"""`queues`: what waits, and what nothing could be done about."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.ops.command import Operator, Yes, command, group
from infra.ops.deployment import Deployment
from infra.ops.screen import OpsError, age, table
from shared.dead_letters import DeadLetters, Letter, depth
from shared.manifest import iso
from shared.services import now

if TYPE_CHECKING:
    from rich.console import RenderableType

app = group("What waits in queues, and dead letters: what nothing could be done about.")

QueueName = Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="Such as archive, dispatch or notify.")]


@command(app, "look")
def look(
    ops: Operator,
    queue: QueueName = None,
    heads: Annotated[int, typer.Option("--heads", min=0, help="Dead letters of each queue to show.")] = 10,
) -> None:
    """Count what waits, and show the heads of dead letters: their age, what they ask for, and of which job."""
    deployment = ops.deployment
    counts = []
    letters: list[tuple[str, Letter]] = []
    for name, (url, source) in _chosen(deployment, queue).items():
        dead = depth(deployment.sqs, url)
        working = depth(deployment.sqs, source) if source else None
        counts.append(
            {
                "queue": name,
                "dead_letters": dead.waiting + dead.in_work,
                "waiting": working and working.waiting,
                "in_work": working and working.in_work,
                "delayed": working and working.delayed,
            }
        )
        if dead.waiting:
            letters += [(name, one) for one in DeadLetters(deployment.sqs, url, source).look(heads)]
    document = {"queues": counts, "heads": [{"queue": name, **_head(letter)} for name, letter in letters]}
    columns = ("queue", "dead letters", "waiting", "in work", "delayed")
    shown: list[RenderableType] = [table(*columns, rows=[tuple(one.values()) for one in counts])]
    if letters:
        rows = [(name, age((now() - one.sent_at) / 1000), one.received, one.what, one.job_id) for name, one in letters]
        shown += ["", table("dead letter in", "age", "received", "what it asks for", "job", rows=rows)]
    ops.screen.show(document, *shown)


@command(app, "redrive")
def redrive(
    ops: Operator,
    queue: QueueName = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All queues.")] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="Messages of each queue at most.")] = 100,
    yes: Yes = False,
) -> None:
    """Send dead letters to where they came from, once what was wrong is repaired.

    Those of `reconcile` are removed: they only tell of runs that failed, and it runs every minute.
    """
    if every == (queue is not None):
        raise typer.BadParameter("name a queue, or say --all")
    deployment = ops.deployment
    chosen = _chosen(deployment, queue)
    counted = {name: depth(deployment.sqs, url).waiting for name, (url, _) in chosen.items()}
    planned = sum(min(most, count) for count in counted.values())
    names = ", ".join(name for name, count in counted.items() if count) or ", ".join(counted)
    ops.screen.confirm(f"Send about {planned} dead letters of {names} again?", yes=yes)
    moved = {}
    with ops.screen.progress("sending again", total=planned) as bar:
        for name, (url, source) in chosen.items():
            letters = DeadLetters(deployment.sqs, url, source)
            moved[name] = letters.redrive(most, bar.step) if counted[name] else 0
    left = {name: depth(deployment.sqs, url).waiting for name, (url, _) in chosen.items()}
    rows = [(name, moved[name], left[name]) for name in chosen]
    document = [{"queue": name, "moved": moved[name], "left": left[name]} for name in chosen]
    ops.screen.show(document, table("queue", "sent again", "left", rows=rows))


def _head(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "sent_at": iso(letter.sent_at),
        "age_s": (now() - letter.sent_at) // 1000,
        "received": letter.received,
        "what": letter.what,
        "job_id": letter.job_id,
    }


def _chosen(deployment: Deployment, queue: str | None) -> dict[str, tuple[str, str | None]]:
    known = deployment.dead_letter_queues()
    if queue is not None and queue not in known:
        raise OpsError(f"There is no dead-letter queue {queue!r}; there are: {', '.join(known)}.")
    return {name: urls for name, urls in known.items() if queue in {None, name}}
