"""The local stack: reachable from this machine alone, as strict as AWS where it matters, and gone when stopped."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.deploy import Aws
from infra.local.stack import LocalStack, PortTakenError, Stack, StackError

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads Linux's /proc"),
]

LISTENING = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def local() -> LocalStack:
    return LocalStack()


@pytest.fixture(scope="module")
def stack(local: LocalStack) -> Iterator[Stack]:
    with local as running:
        yield running


def processes() -> dict[int, tuple[int, int]]:
    """Parent and process group of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        if fields[0] != "Z":
            found[int(folder.name)] = int(fields[1]), int(fields[2])
    return found


def in_groups(groups: set[int]) -> set[int]:
    return {pid for pid, (_, group) in processes().items() if group in groups}


def listening(pids: set[int]) -> list[str]:
    """Hexadecimal addresses that these processes listen on."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):  # Idle workers of functions may end meanwhile.
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    inodes.add(str(link.readlink()))
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in inodes:
                addresses.append(fields[1].partition(":")[0])
    return addresses


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, **{"timeout": 120, **options})


def gone(groups: set[int]) -> bool:
    deadline = time.monotonic() + 60
    while in_groups(groups):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_everything_listens_on_loopback_only(local: LocalStack, stack: Stack) -> None:
    # A request, so that a function has its worker.
    get(f"{stack.api_url}/health")
    found = listening(in_groups({child.pid for child in local.children}))
    assert len(found) >= 6  # AWS, API twice, Replicate, its files, its control
    assert set(found) <= LOOPBACK


def test_the_api_answers_over_https_with_a_certificate_of_its_own_authority(stack: Stack) -> None:
    trust = ssl.create_default_context(cafile=stack.ca_file)
    assert get(f"{stack.api_url_https}/health", verify=trust).status_code == 200


def test_a_presigned_url_is_refused_when_another_authorization_comes_along(stack: Stack) -> None:
    s3 = Aws(stack.aws_endpoint_url).s3
    s3.put_object(Bucket=stack.bucket, Key="test/twice", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": stack.bucket, "Key": "test/twice"})
    assert get(url).content == b"content"
    refused = get(url, headers={"Authorization": "Bearer token"})
    assert refused.status_code == 400
    assert "<Code>InvalidArgument</Code>" in refused.text


def test_the_bucket_shows_nothing_to_strangers(stack: Stack) -> None:
    s3 = Aws(stack.aws_endpoint_url).s3
    s3.put_object(Bucket=stack.bucket, Key="test/private", Body=b"content")
    assert get(f"{stack.aws_endpoint_url}/{stack.bucket}/test/private").status_code == 403


def test_a_body_above_the_gateways_limit_is_refused_in_its_words(stack: Stack) -> None:
    refused = httpx.post(f"{stack.api_url}/generate", content=bytes(10 * 1024 * 1024 + 1), timeout=120)
    assert (refused.status_code, refused.text) == (413, '{"message":"Request Entity Too Large"}')


def test_another_host_name_leads_nowhere(stack: Stack) -> None:
    assert get(f"{stack.api_url}/health", headers={"Host": "rebound.example"}).status_code == 403


def test_a_taken_port_is_said_plainly(stack: Stack) -> None:
    port = httpx.URL(stack.api_url).port
    with pytest.raises(PortTakenError, match=f"Port {port} of 127.0.0.1 is taken"), LocalStack(port=port or 0):
        pass


def test_a_deployment_that_fails_says_why_and_leaves_nothing() -> None:
    local = LocalStack(parameters={"RatePerMinute": "0"})
    with pytest.raises(StackError, match="RatePerMinute"), local:
        pass
    assert gone({child.pid for child in local.children})


def test_nothing_is_left_after_the_stop() -> None:
    before = listening({os.getpid()})
    local = LocalStack()
    with local as stack:
        get(f"{stack.api_url}/health")
        groups = {child.pid for child in local.children}
        assert len(in_groups(groups)) >= 3
    assert gone(groups)
    assert not Path(stack.ca_file).exists()
    # The ports may be somebody else's by now.
    assert listening({os.getpid()}) == before


def test_nothing_runs_on_when_the_stack_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from infra.local.stack import LocalStack\n"
        "with LocalStack(folder=pathlib.Path(sys.argv[1])):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(99)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    with parent:
        assert parent.stdout.readline() == b"up\n"
        children = {pid for pid, (owner, _) in processes().items() if owner == parent.pid}
        groups = {os.getpgid(pid) for pid in children}
        assert len(groups) == 2
        parent.send_signal(signal.SIGKILL)
    assert gone(groups)
