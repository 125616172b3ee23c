"""`make run`: starts the local stack, proves with one prediction that it works, and serves until Ctrl-C.

With LIVE=1 it is the real Replicate that predicts, for real money, and so nothing is predicted unasked.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from infra.local.live import Live, LiveError
from infra.local.proof import Proof, ProofError, prove
from infra.local.stack import HTTPS_PORT_OFFSET, ROOT, LocalStack, PortTakenError, Stack, StackError

_DEFAULT_PORT = 8080
_FOLDER = ROOT / ".local"
_STACK_JSON = _FOLDER / "stack.json"
# What the user has set for other programs: it must reach neither this process's clients nor its children.
_FOREIGN = ("AWS_", "REPLICATE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT")
_REAL_MONEY = """\
LIVE: this calls the real Replicate and spends real money, at most USD {budget_usd} a day with each of the two API keys
(BUDGET_USD sets another amount). When it stops, it forgets what was spent, and the images: keep those that you want.
A prediction that still runs then is paid for, and its images are lost here.
"""


def main() -> int:
    """Return the exit status: 0 after Ctrl-C, 1 if something failed, 2 if the request makes no sense."""
    try:
        live = Live.asked_for(os.environ)
    except LiveError as error:
        return _say_no(str(error))
    try:
        port = int(os.environ.get("PORT") or _DEFAULT_PORT)
    except ValueError:
        return _say_no(f"PORT should be a number, not {os.environ['PORT']!r}.")
    if not 1 <= port <= 65535 - HTTPS_PORT_OFFSET:
        return _say_no(f"PORT should be from 1 to {65535 - HTTPS_PORT_OFFSET}: HTTPS is {HTTPS_PORT_OFFSET} above.")
    if live:
        print(_REAL_MONEY.format(budget_usd=live.budget_usd), flush=True)
    elif os.environ.get("REPLICATE_API_TOKEN"):
        print("REPLICATE_API_TOKEN is ignored: the local stack talks to a simulator and spends nothing.", flush=True)
    _forget_foreign_variables()
    # SIGINT too: a shell's `&` leaves it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with _only_one_here():
            return _run(port, live)
    except KeyboardInterrupt:
        return 0


def _run(port: int, live: Live | None) -> int:
    started = time.monotonic()
    local = LocalStack(port=port, folder=_FOLDER, live=live, on_step=_print_step)
    try:
        with local as stack, _uninterrupted_end():
            proof = None if live else _timed_proof(stack)
            with _stack_json(stack):
                seconds = time.monotonic() - started
                print(_proved(stack, proof, seconds) if proof else _unproved(stack, seconds))
                _print_places(stack)
                _serve(local)
    except PortTakenError as error:
        print(f"{error} Stop what uses it, or choose another one: make run PORT={port + 10}", file=sys.stderr)
        return 1
    except (StackError, ProofError) as error:
        print(f"\n{error}\n\nThe logs are in {_relative(_FOLDER / 'logs')}.", file=sys.stderr)
        return 1
    return 0


def _timed_proof(stack: Stack) -> Proof:
    before = time.monotonic()
    proof = prove(stack)
    _print_step("first prediction", time.monotonic() - before)
    return proof


def _serve(local: LocalStack) -> None:
    while True:
        time.sleep(0.5)
        for child in local.children:
            if not child.running:
                raise StackError(child.report("ended unexpectedly; run `make run` again"))


@contextlib.contextmanager
def _only_one_here() -> Iterator[None]:
    """Hold this folder's lock, since the runs of one folder share `.local/`."""
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("The local stack of this folder is running already; `.local/stack.json` says where.")
        # What an earlier run may have left that was killed.
        _STACK_JSON.unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def _uninterrupted_end() -> Iterator[None]:
    """Let nothing interrupt what stops the stack."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _stack_json(stack: Stack) -> Iterator[None]:
    """Keep `.local/stack.json`, which holds keys and so is only the user's own."""
    draft = _STACK_JSON.with_suffix(".new")
    draft.touch(mode=0o600)
    places = {name: place for name, place in dataclasses.asdict(stack).items() if place}
    draft.write_text(json.dumps(places, indent=2) + "\n")
    draft.replace(_STACK_JSON)
    try:
        yield
    finally:
        _STACK_JSON.unlink(missing_ok=True)


def _print_step(step: str, seconds: float) -> None:
    print(f"  {seconds:5.1f} s  {step}", flush=True)


def _proved(stack: Stack, proof: Proof, seconds: float) -> str:
    files = "\n".join(f"  s3://{stack.bucket}/{key}" for key in proof.keys)
    return f"""
Prediction {proof.prediction_id} {proof.status}, {seconds:.1f} s after the start. Stored:
{files}
See one: {proof.images[0]}"""


def _unproved(stack: Stack, seconds: float) -> str:
    return f"""
{stack.api_url}/health answers, {seconds:.1f} s after the start. That is all the proof there is,
since a prediction would cost money. If what you ask for stays `starting`, Replicate may not take the token."""


def _print_places(stack: Stack) -> None:
    how = f"simulated; controlled at {stack.simulator_url}" if stack.simulator_url else "the real one, for real money"
    print(
        f"""
Ask for an image:

  curl -sS {stack.api_url}/generate -H 'Authorization: Bearer {stack.api_key}' \\
    -H 'Content-Type: application/json' -H 'Prefer: wait' \\
    -d '{{"prompt": "an astronaut riding a horse", "num_images": 1}}'

The same with Replicate's own client for Python ({_relative(ROOT / ".venv/bin/python")} has it):

  import replicate
  client = replicate.Client(api_token="{stack.api_key}", base_url="{stack.api_url}")
  print(client.run("black-forest-labs/flux-schnell", input={{"prompt": "an astronaut riding a horse"}}))

API          {stack.api_url}
             {stack.api_url_https}, certificate authority {stack.ca_file}
Console      {stack.console_url}
API keys     {stack.api_key}
             {stack.second_api_key} of another tenant
AWS          {stack.aws_endpoint_url} (MiniStack; key and secret: test, region us-east-1)
Replicate    {stack.replicate_url} ({how})
Logs         {_relative(_FOLDER / "logs")}
All of this  {_relative(_STACK_JSON)}

Ctrl-C stops it.""",
        flush=True,
    )


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT)


def _forget_foreign_variables() -> None:
    for name in list(os.environ):
        if name.upper().startswith(_FOREIGN):
            del os.environ[name]
    # Neither does a profile of the user's decide anything.
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say_no(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
