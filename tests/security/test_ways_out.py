"""Ways out: there are two, one of them to Replicate alone; and on the other nobody else answers in a host's name."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from infra.local.certificates import Certificates, make_certificates
from shared import outgoing
from shared.addresses import Places
from shared.aws import Credentials, JsonClient, ObjectClient, Surroundings
from shared.errors import AddressUnavailable
from shared.outgoing import Patience, opened
from tests.test_imports import FUNCTIONS, ROOT, SHARED, imported

pytestmark = pytest.mark.sockets

SPEAKING = {
    "socket", "ssl", "http.client", "urllib.request", "urllib3", "requests", "httpx", "aiohttp", "ftplib", "smtplib",
    "telnetlib", "asyncio", "xmlrpc.client", "websockets", "subprocess",
}  # fmt: skip
WAYS = {"outgoing.py", "fetch.py", "replicate_api.py"}
TO_AWS = {"aws.py"}  # to names that it makes itself, of the region and what it is told of no caller
PATIENCE = Patience(connect_s=60, read_s=60, total_s=60)


def test_only_two_modules_speak_to_anything_but_aws() -> None:
    """`fetch` names the errors of `outgoing`'s library; whatever else wants to call a URL goes through these."""
    speaking = {
        path.name
        for path in [*SHARED, *FUNCTIONS]
        if any(name in SPEAKING or name.partition(".")[0] in SPEAKING for name in imported(path))
    }
    assert speaking == WAYS | TO_AWS
    assert "urllib3.connection" not in imported(ROOT / "shared" / "fetch.py")


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1"])
def test_what_is_signed_for_aws_is_sent_to_aws_only(region: str) -> None:
    sent: list[str] = []

    def send(request: Any) -> Any:
        sent.append(request.url)
        answer: Any = AWSResponse(request.url, 200, {"content-length": "2"}, None)  # type: ignore[arg-type]
        answer._content = b"{}"
        return answer

    around = Surroundings(region, None, lambda: Credentials("a", "b", None), lambda: None)
    for hostile in ("https://evil.example/", "//evil.example", "evil.example", "@evil.example/../.."):
        JsonClient("sqs", around, send).send_message(QueueUrl=hostile, MessageBody="{}")
        JsonClient("dynamodb", around, send).get_item(TableName=hostile, Key={"pk": {"S": hostile}})
        objects = ObjectClient(around, send, boto3s=lambda: pytest.fail("nothing else is asked for"))
        objects.get_object(Bucket="images-made-up", Key=hostile)
        sent.append(
            objects.generate_presigned_url(
                "get_object", Params={"Bucket": "images-made-up", "Key": hostile}, ExpiresIn=1
            )
        )
    own = rf"https://(sqs|dynamodb|images-made-up\.s3)\.{region}\.amazonaws\.com(\.cn)?/.*"
    assert len(sent) == 16
    assert [url for url in sent if not re.fullmatch(own, url)] == []


def test_the_token_is_known_to_one_module_and_what_strangers_name_to_others() -> None:
    """So that no mistake in following a URL could take the token along."""
    for name in ("outgoing", "fetch", "addresses", "notifying"):
        found = imported(ROOT / "shared" / f"{name}.py", types=True)
        assert not {"shared.replicate_api", "shared.services", "shared.settings"} & found
        assert "token" not in (ROOT / "shared" / f"{name}.py").read_text().lower()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def answering(certificates: Certificates) -> Iterator[int]:
    """Answer over TLS on loopback, and give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(65_536)
                tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.fixture
def call(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call a host that DNS, as it is played, says is here, and whose authority is trusted."""

    def resolve(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", ("127.0.0.1", 443))]

    real = {name: getattr(socket, name) for name in ("create_connection", "SOCK_STREAM", "SHUT_RDWR")}
    monkeypatch.setattr("shared.outgoing.socket", SimpleNamespace(getaddrinfo=resolve, **real))
    monkeypatch.setattr("shared.outgoing.certifi.where", lambda: str(certificates.authority))
    outgoing._tls.cache_clear()

    def send(host: str, port: int) -> int:
        places = Places(frozenset(), frozenset({f"https://{host}:{port}"}))
        with opened("GET", f"https://{host}:{port}/", places, PATIENCE) as response:
            return response.status

    yield send
    outgoing._tls.cache_clear()


def test_a_host_answers_in_its_own_name(certificates: Certificates, call: Any) -> None:
    with answering(certificates) as port:
        assert call("localhost", port) == 204


@pytest.mark.parametrize("host", ["replicate.delivery", "localhost.evil.example", "evil-localhost", "local"])
def test_nobody_answers_in_the_name_of_another(certificates: Certificates, call: Any, host: str) -> None:
    """Whoever answers at the address must have a certificate for the name in the URL, from an authority we know."""
    with answering(certificates) as port, pytest.raises(AddressUnavailable, match="SSLCertVerificationError"):
        call(host, port)


def test_the_authorities_are_those_of_certifi_alone(call: Any, tmp_path: Path) -> None:
    """Not those that a variable of the environment names."""
    (tmp_path / "other").mkdir()
    others = make_certificates(tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch, answering(others) as port:
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            patch.setenv(name, str(others.authority))
        with pytest.raises(AddressUnavailable, match="SSLCertVerificationError"):
            call("localhost", port)


def test_old_tls_is_not_spoken() -> None:
    assert outgoing._tls().minimum_version >= ssl.TLSVersion.TLSv1_2
    assert outgoing._tls().verify_mode is ssl.CERT_REQUIRED
    assert outgoing._tls().check_hostname is True
