"""The files that an input names: read from this machine when a prediction starts, and from nowhere else."""

import base64
import binascii
import http.client
import ssl
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from json import dumps
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from infra.local.simulator.clock import Workers
from infra.local.simulator.outgoing import Outgoing, target
from infra.local.simulator.prediction import Prediction
from infra.local.simulator.records import Records

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
TIMEOUT_S = 60.0  # a laptop that is busy takes long to serve them
MOST_BYTES = 20_000_000
MOST_REDIRECTS = 5
READERS = 4

type Then = Callable[[str | None], object]


class Unreadable(Exception):
    """A file cannot be had; the message is what the prediction fails with."""


class Files:
    """Reads them on its own threads."""

    def __init__(self, *, outgoing: Outgoing, records: Records) -> None:
        self._outgoing = outgoing
        self._records = records
        self._workers = Workers("file", READERS)
        # On loopback nobody else can answer, and who signs certificates there is not known.
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def read(self, prediction: Prediction, then: Then) -> None:
        """Read all files that an input names, then say what was wrong with the first bad one, if any."""
        named = [
            (name, prediction.order.input[name])
            for name, field in prediction.order.inputs.items()
            if field.format == "uri" and prediction.order.input.get(name)
        ]
        if named:
            self._workers.submit(partial(self._read_all, prediction, named, then))
        else:
            then(None)

    def stop(self) -> None:
        """End the threads; what is under way ends with its connection."""
        self._workers.stop()
        self._workers.join(0.3)

    def _read_all(self, prediction: Prediction, named: list[tuple[str, str]], then: Then) -> None:
        wrong = None
        for name, place in named:
            try:
                content = _decoded(name, place) if place.startswith("data:") else self._fetched(prediction, name, place)
            except Unreadable as unreadable:
                wrong = str(unreadable)
            else:
                wrong = None if content is None else prediction.file_refusal(content)
            if wrong:
                break
        then(wrong)

    def _fetched(self, prediction: Prediction, name: str, url: str) -> bytes | None:
        """Read a URL on this machine; None for what is elsewhere, which is never asked."""
        try:
            answer = self._follow(url)
        except (OSError, http.client.HTTPException, ValueError) as failure:
            self._records.fetched(prediction=prediction.id, field=name, status=None, bytes=0)
            raise Unreadable(f"{type(failure).__name__}: {failure} for url: {url}") from failure
        if answer is None:
            return None
        status, content = answer
        self._records.fetched(prediction=prediction.id, field=name, status=status, bytes=len(content))
        if status != HTTPStatus.OK:
            side = "Client" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "Server"
            raise Unreadable(f"{status} {side} Error: {http.client.responses.get(status, '')} for url: {url}")
        return content

    def _follow(self, url: str) -> tuple[int, bytes] | None:
        """Read a URL, or where it leads; None if that is elsewhere."""
        for _ in range(MOST_REDIRECTS):
            if urlsplit(url).hostname not in LOOPBACK:
                return None
            status, content, location = self._get(url)
            if not location:
                return status, content
            url = urljoin(url, location)
        raise ValueError(f"Exceeded {MOST_REDIRECTS} redirects.")

    def _get(self, url: str) -> tuple[int, bytes, str | None]:
        place = urlsplit(url)
        deadline = time.monotonic() + TIMEOUT_S
        content = bytearray()
        with self._outgoing.connection(place, TIMEOUT_S, self._context) as connection:
            connection.request("GET", target(place), headers={"User-Agent": "Replicate-Simulator"})
            response = connection.getresponse()
            while part := response.read1(65_536):
                content += part
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Read timed out. (read timeout={TIMEOUT_S:g})")
                if len(content) > MOST_BYTES:
                    raise ValueError(f"more than {MOST_BYTES} bytes")
            if response.length:
                raise http.client.IncompleteRead(bytes(content), response.length)
            redirected = HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST
            return response.status, bytes(content), response.headers["Location"] if redirected else None


def _decoded(name: str, place: str) -> bytes:
    head, comma, body = place.partition(",")
    try:
        if comma:
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
        message = "not enough values to unpack (expected 2, got 1)"
    except (binascii.Error, ValueError) as wrong:
        message = str(wrong)
    told = {"detail": [{"loc": ["body", "input", name], "msg": message, "type": "value_error"}]}
    raise Unreadable(f"Prediction input failed validation: {dumps(told, separators=(',', ':'))}")
