"""The local stack as a whole: started, described and stopped; also the fixture of the journeys."""

import base64
import contextlib
import errno
import secrets
import shutil
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import HTTPError

from botocore.exceptions import BotoCoreError, ClientError

from infra.local import emulator
from infra.local.accounts import create_tenant
from infra.local.certificates import Certificates, make_certificates
from infra.local.deploy import Aws, DeployError, deploy
from infra.local.live import Live, Reconciling
from infra.local.processes import Child, ChildError, bare_environment

ROOT = Path(__file__).resolve().parents[2]
STAGE = "local"
# 8080 goes with 8443.
HTTPS_PORT_OFFSET = 363
_READY_TIMEOUT_S = 180
# Each place is a process that must be started before it works: more of them only make a laptop slower.
_CONCURRENCY = {"ArchiveConcurrency": "4", "DispatchConcurrency": "2", "NotifyConcurrency": "4"}
# Where the usual development servers have their pages.
_FRONTENDS = {"FrontendOrigins": "http://localhost:3000,http://localhost:5173"}
# A caller on this machine can be called too.
_WEBHOOKS = {"WebhookHosts": "*,http://127.0.0.1:*"}

# The simulator's account, with a LoRA that somebody has trained there, and models that nobody has described.
_ACCOUNT = {
    "AllowedModels": "black-forest-labs/*,stability-ai/sdxl,ostris/flux-dev-lora-trainer,simulated-user/*",
    "ReplicateUsername": "simulated-user",
    "LoraModelId": "simulated-user/flux-lora",
    "FallbackPriceUsd": "0.01",
}


class StackError(Exception):
    """The stack could not be started; the message says what failed."""


class PortTakenError(StackError):
    """The API cannot listen where it should, mostly because another program does."""


@dataclass(frozen=True)
class Stack:
    """Where everything is; `.local/stack.json` holds the same.

    With the real Replicate, `simulator_url` and `webhook_secret` are empty, and missing there.
    """

    api_url: str
    api_url_https: str
    ca_file: str
    api_key: str
    second_api_key: str
    console_url: str  # it carries the key behind the #, which no server sees
    replicate_url: str
    simulator_url: str
    aws_endpoint_url: str
    bucket: str
    jobs_table: str
    accounts_table: str
    archive_queue_url: str
    dispatch_queue_url: str
    notify_queue_url: str
    webhook_secret: str
    functions: dict[str, str]


class LocalStack:
    """Context manager around a running `Stack`, on free ports unless told one.

    `folder` takes logs, which stay, and state, which does not; without one it is a temporary folder.
    `parameters` go to the template, over those that the stack itself sets. With `live`, no simulator is started.
    `deployer` deploys the template in its own way, and gives the outputs and physical ids.
    """

    emulator = emulator.__name__  # the program that plays AWS

    def __init__(
        self,
        root: Path = ROOT,
        *,
        port: int = 0,
        folder: Path | None = None,
        parameters: Mapping[str, str] | None = None,
        live: Live | None = None,
        deployer: Callable[[Aws, Path, Mapping[str, str]], Mapping[str, str]] = deploy,
        on_step: Callable[[str, float], None] = lambda _step, _seconds: None,
    ) -> None:
        self._root = root
        self._port = port
        self._folder = folder
        self._parameters = parameters or {}
        self._live = live
        self._deployer = deployer
        self._on_step = on_step
        self._exits = contextlib.ExitStack()
        self.children: list[Child] = []

    def __enter__(self) -> Stack:
        try:
            return self._start()
        except (ChildError, DeployError, BotoCoreError, ClientError, OSError) as error:
            dead = [child.report("ended early") for child in self.children if not child.running]
            self._exits.close()
            raise StackError("\n".join([str(error), *dead])) from error
        except BaseException:
            self._exits.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.close()

    def _start(self) -> Stack:
        state, logs = self._folders()
        keys = _Secrets(self._live)
        with self._step("processes"), _Sockets(self._port) as sockets:
            certificates = make_certificates(state)
            ministack = self._start_emulator(sockets, certificates, state, logs)
            simulator = None if self._live else self._start_simulator(keys, state, logs)
            aws = Aws(f"http://127.0.0.1:{sockets.aws_port}")
            api_urls = f"http://127.0.0.1:{sockets.http_port}", f"https://127.0.0.1:{sockets.https_port}"
        replicate = self._live.parameters if self._live else {}
        simulator_url = ""
        if simulator is not None:
            with self._step("Replicate simulator ready"):
                places = simulator.first_line(_READY_TIMEOUT_S)
            replicate = {"ReplicateApiUrl": places["replicate_url"], "OutputHosts": places["delivery_url"], **_ACCOUNT}
            simulator_url = places["simulator_url"]
        with self._step("MiniStack ready"):
            _wait_for_answer(f"{aws.endpoint_url}/_ministack/health")
        with self._step("template.yaml deployed"):
            keys.store(aws)
            parameters = {"Stage": STAGE, "PublicUrl": ",".join(api_urls), **_FRONTENDS, **_WEBHOOKS, **_CONCURRENCY}
            parameters |= replicate
            deployed = self._deployer(aws, self._root, {**parameters, **self._parameters})
        with self._step("tenants and their API keys"):
            accounts = deployed["AccountsTable"]
            api_key, second_api_key = (create_tenant(aws, accounts, tenant) for tenant in ("demo", "other"))
        with self._step("API answers"):
            ministack.tell({"api_id": deployed["Api"]})
            _wait_for_answer(f"{api_urls[0]}/health")
        if self._live:
            self._exits.enter_context(Reconciling(aws, deployed["ReconcileFunction"]))
        return Stack(
            api_url=api_urls[0],
            api_url_https=api_urls[1],
            ca_file=str(certificates.authority),
            api_key=api_key,
            second_api_key=second_api_key,
            console_url=f"{api_urls[0]}/#key={api_key}",
            replicate_url=_setting(aws, deployed["SubmitFunction"], "REPLICATE_API_URL"),
            simulator_url=simulator_url,
            aws_endpoint_url=aws.endpoint_url,
            bucket=deployed["Bucket"],
            jobs_table=deployed["JobsTable"],
            accounts_table=deployed["AccountsTable"],
            archive_queue_url=deployed["ArchiveQueueUrl"],
            dispatch_queue_url=deployed["DispatchQueueUrl"],
            notify_queue_url=deployed["NotifyQueueUrl"],
            webhook_secret="" if self._live else keys.webhook_secret,
            functions={
                name.removesuffix("Function").lower(): physical
                for name, physical in deployed.items()
                if name.endswith("Function")
            },
        )

    def _folders(self) -> tuple[Path, Path]:
        folder = self._folder or Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="afterimage-")))
        state, logs = folder / "state", folder / "logs"
        # A run that was killed leaves its state.
        shutil.rmtree(state, ignore_errors=True)
        for made in (state, logs):
            made.mkdir(parents=True, exist_ok=True)
        self._exits.callback(shutil.rmtree, state, ignore_errors=True)
        return state, logs

    def _start_emulator(self, sockets: "_Sockets", certificates: Certificates, state: Path, logs: Path) -> Child:
        arguments = [
            *(self.emulator, "--certificate", str(certificates.certificate)),
            *("--key", str(certificates.key), "--aws-fd", str(sockets.aws)),
            *("--http-fd", str(sockets.http), "--https-fd", str(sockets.https)),
        ]
        return self._start_child(
            Child(
                "emulator of AWS (MiniStack)",
                arguments,
                log=logs / "ministack.log",
                environment=bare_environment(state) | emulator.environment(sockets.aws_port),
                pass_fds=(sockets.aws, sockets.http, sockets.https),
            )
        )

    def _start_simulator(self, keys: "_Secrets", state: Path, logs: Path) -> Child:
        arguments = [
            *("infra.local.simulator", "--api-port", "0", "--delivery-port", "0", "--control-port", "0"),
            *("--webhook-secret", keys.webhook_secret, "--api-token", keys.replicate_token),
            "--exit-with-stdin",
        ]
        return self._start_child(
            Child(
                "Replicate simulator",
                arguments,
                log=logs / "simulator.log",
                environment=bare_environment(state),
            )
        )

    def _start_child(self, child: Child) -> Child:
        self._exits.callback(child.stop)
        self.children.append(child)
        return child

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._on_step(name, time.monotonic() - start)


class _Sockets:
    """The listening sockets that the emulator inherits; ours are closed once it has them."""

    def __init__(self, port: int) -> None:
        self._sockets = contextlib.ExitStack()
        try:
            self.http, self.http_port = self._listen(port)
            self.https, self.https_port = self._listen(port + HTTPS_PORT_OFFSET if port else 0)
            self.aws, self.aws_port = self._listen(0)
        except BaseException:
            self._sockets.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sockets.close()

    def _listen(self, port: int) -> tuple[int, int]:
        try:
            listener = self._sockets.enter_context(socket.create_server(("127.0.0.1", port), backlog=1024))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise PortTakenError(f"Port {port} of 127.0.0.1 {reason}.") from error
        return listener.fileno(), listener.getsockname()[1]


class _Secrets:
    """This run's secrets, as the operator's commands would store them: random, but for the real Replicate's token."""

    def __init__(self, live: Live | None) -> None:
        self.replicate_token = live.token if live else f"r8_{secrets.token_hex(18)}"
        self.webhook_secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"

    def store(self, aws: Aws) -> None:
        values = {
            "replicate-api-token": self.replicate_token,
            "replicate-webhook-secret": self.webhook_secret,
            "callback-key": secrets.token_urlsafe(32),
            "link-key": secrets.token_urlsafe(32),
        }
        for name, value in values.items():
            aws.ssm.put_parameter(Name=f"/afterimage/{STAGE}/{name}", Value=value, Type="SecureString")


def _setting(aws: Aws, function: str, name: str) -> str:
    """Read one of a function's variables as it was deployed."""
    return aws.lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"][name]


def _wait_for_answer(url: str) -> None:
    """Return when the server answers: its socket listens from the start, so the connection waits for it."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=_READY_TIMEOUT_S).close()
    except HTTPError as error:
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise StackError(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from error
