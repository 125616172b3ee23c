"""The command line: `python -m infra.ops --help`."""

import os

from infra.ops import jobs, keys, queues, replay, secret_parameters, tenants
from infra.ops.audit import audit
from infra.ops.command import command, group
from infra.ops.costs import costs
from infra.ops.doctor import doctor
from infra.ops.generate import generate

app = group("Afterimage: images for people, and what operators of a deployment need.")
command(app, "generate")(generate)
for name, commands in {
    "tenants": tenants.app,
    "keys": keys.app,
    "jobs": jobs.app,
    "queues": queues.app,
    "replay": replay.app,
}.items():
    app.add_typer(commands, name=name)
command(app, "costs")(costs)
command(app, "audit")(audit)
command(app, "doctor")(doctor)
app.add_typer(secret_parameters.app, name="secrets")


def main() -> None:
    """Run a command."""
    # What functions log of their work is not for here; whatever goes wrong is said.
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "CRITICAL")
    app(prog_name="afterimage")


if __name__ == "__main__":
    main()
