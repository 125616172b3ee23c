"""Starts the local stack, and lets each client's suite use it: `make test-clients`, or `python -m tests.clients NAME`.

A suite is told a base URL as its client wants it, and a token of a tenant of its own; the rest of its environment is
what it takes to trust the stack's certificate, and to make Replicate or the network misbehave.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.processes import bare_environment
from infra.local.stack import ROOT, LocalStack
from shared.job import Job, Millis, Status, TenantId
from shared.job_store import encode
from tests.clients.proxy import in_front_of
from tests.clients.surroundings import OLD_JOBS, SDXL, TEXT, TRAINER
from tests.journey.local import Local, Tenant
from tests.support.world import START, job

HERE = Path(__file__).parent
INSTALLED = ROOT / ".local" / "clients"
LONGEST_S = 1200  # for one suite; it takes about a minute
NARROW = {"max_in_flight": 1}
# A version alone is resolved among the models that are named: for those of a pattern, Replicate could not be asked.
MODELS = {"AllowedModels": f"black-forest-labs/*,{SDXL},{TRAINER},simulated-user/*,{TEXT}"}


@dataclass(frozen=True)
class Suite:
    """One client: what it is, the command that runs its tests, and how its base URL ends."""

    client: str
    command: Sequence[str]
    base: str = "/v1"


def pytest_of(python: Path, folder: str) -> list[str]:
    """Give the command that runs a suite in Python."""
    return [str(python), "-m", "pytest", "-c", "suites.ini", folder]


def node_of(file: str) -> list[str]:
    """Give the command that runs a suite in JavaScript."""
    flags = ["--test", "--test-reporter=spec", "--test-concurrency=1", "--test-timeout=300000"]
    return [str(INSTALLED / "python" / "bin" / "node"), *flags, file]


def versions(*names: str) -> str:
    """Say which packages are installed from npm."""
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    return ", ".join(wanted[name].removeprefix("npm:") for name in names)


SUITES = {
    "python_1": Suite("Python: replicate 1.0.7", pytest_of(Path(sys.executable), "python_1"), base=""),
    "python_2": Suite("Python: replicate 2.0.0b4", pytest_of(INSTALLED / "python" / "bin" / "python", "python_2")),
    "javascript": Suite(f"JavaScript: {versions('replicate')}", node_of("javascript/replicate.test.mjs")),
    "ai_sdk": Suite(
        "JavaScript: " + versions("ai-6", "@ai-sdk/replicate-2", "ai-7", "@ai-sdk/replicate-3"),
        node_of("ai_sdk/ai-sdk.test.mjs"),
    ),
}


def main(names: Sequence[str]) -> int:
    """Run these suites, or all; give the exit status."""
    suites = [SUITES[name] for name in names or SUITES]
    with LocalStack(parameters=MODELS) as stack, closing(Local(stack)) as local, in_front_of(stack) as proxy_url:
        told = bare_environment(Path(stack.ca_file).parent) | {
            "PACKAGES": f"{INSTALLED}/",
            "SSL_CERT_FILE": stack.ca_file,
            "NODE_EXTRA_CA_CERTS": stack.ca_file,
            "STACK_URL": stack.api_url_https,
            "PROXY_URL": proxy_url,
            "SIMULATOR_URL": stack.simulator_url,
        }
        failed = [suite.client for suite in suites if not passes(suite, local, told)]
    print(f"\nFailed: {'; '.join(failed)}" if failed else f"\n{len(suites)} clients work.")  # noqa: T201
    return 1 if failed else 0


def passes(suite: Suite, local: Local, told: Mapping[str, str]) -> bool:
    """Run one suite as a new tenant, and say whether all of it passed."""
    base_url = local.stack.api_url_https + suite.base
    print(f"\n{suite.client}, told {base_url}\n", flush=True)  # noqa: T201
    with used_tenant(local) as tenant, local.tenant(**NARROW) as narrow:
        warm_up(local, tenant)
        keys = {"BASE_URL": base_url, "TOKEN": tenant.key, "NARROW_TOKEN": narrow.key}
        return subprocess.run(suite.command, cwd=HERE, env={**told, **keys}, timeout=LONGEST_S).returncode == 0  # noqa: PLW1510


def warm_up(local: Local, tenant: Tenant) -> None:
    """Start as many processes of each function as a client will use at once: with none, a first answer takes long."""
    answers = tenant.at_once(4, tenant.predict, callers=4)
    local.end([answer.json()["id"] for answer in answers], seconds=300)


@contextmanager
def used_tenant(local: Local) -> Iterator[Tenant]:
    """Make a tenant with jobs from before, so that its list has pages."""
    with local.tenant() as tenant:
        for n in range(OLD_JOBS):
            local.aws.dynamodb.put_item(TableName=local.stack.jobs_table, Item=encode(old_job(tenant, n)))
        yield tenant


def old_job(tenant: Tenant, n: int) -> Job:
    """Give a job that has ended long ago."""
    at = Millis(START + n)
    return job(
        tenant=TenantId(tenant.name),
        status=Status.CANCELED,
        created_at=at,
        completed_at=at,
        archived_at=at,
        hold=None,
        due_at=None,
        due_shard=None,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
