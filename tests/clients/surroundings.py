"""What the clients' tests in Python can do besides: hold Replicate up, and look at what came of a request.

Both environments load this: the project's own, and that of replicate 2.0.0b4. So it needs httpx and nothing else.
"""

import os
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, cast

import httpx

SCHNELL = "black-forest-labs/flux-schnell"
DEV = "black-forest-labs/flux-dev"
SDXL = "stability-ai/sdxl"
TRAINER = "ostris/flux-dev-lora-trainer"
TEXT = "simulated-user/text"  # gives words one by one
DEPLOYMENT = "simulated-user/fast-flux"
SMALL = {"megapixels": "0.25"}  # cheap to make
FILES_LIMIT = 4 * 1024 * 1024
OLD_JOBS = 105  # that each tenant has from before: more than a page
_numbers = count(1)


def until[T](ask: Callable[[], T | None], *, seconds: float = 120) -> T:
    """Ask until the answer is neither empty nor false, and give it; that it stays so is a failure."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return answer


def new_prompt() -> str:
    """Give a prompt that nobody else has."""
    return f"a quiet harbour, seen by {os.getpid()} for the {next(_numbers)}. time"


def is_image(content: bytes) -> bool:
    """Whether this is an image as the models make them, unless told otherwise."""
    return content[8:12] == b"WEBP" or content[1:4] == b"PNG"


class Surroundings:
    """The simulated Replicate's control port, and the proxy's."""

    def __init__(self) -> None:
        trusted = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        self._http = httpx.Client(timeout=60, trust_env=False, verify=trusted)
        self._simulator = f"{os.environ['SIMULATOR_URL']}/_simulator"
        self.proxy_url = os.environ["PROXY_URL"]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Replicate

    def misbehave(self, **fault: Any) -> None:
        """Make this Replicate's only fault; none lets go of what was held."""
        self._http.put(f"{self._simulator}/faults", json=[fault] if fault else []).raise_for_status()

    def hold(self) -> None:
        """Let everything that starts from now on run until `misbehave` is told something else."""
        self.misbehave(on="prediction", kind="held")

    def paid(self, prompt: str) -> int:
        """Count the predictions with this prompt that Replicate takes money for."""
        return sum(one["charged"] for one in self._seen("predictions") if one["input"].get("prompt") == prompt)

    def fetched(self, prompt: str) -> list[tuple[str, int, int]]:
        """Give the files that Replicate has read for predictions with this prompt: field, status and bytes."""
        ids = {one["id"] for one in self._seen("predictions") if one["input"].get("prompt") == prompt}
        return [
            (one["field"], one["status"], one["bytes"]) for one in self._seen("fetched") if one["prediction"] in ids
        ]

    def _seen(self, what: str) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self._http.get(f"{self._simulator}/calls").raise_for_status().json()[what])

    # The proxy

    def lose(self, *faults: str) -> None:
        """Let the answers to the next requests be lost in these ways, such as `POST cut`; forget what came by."""
        self._http.put(f"{self.proxy_url}/_proxy", json=faults).raise_for_status()

    def requests(self, method: str, ends: str) -> list[dict[str, Any]]:
        """Give the requests that came by, by how their paths end."""
        found: list[dict[str, Any]] = self._http.get(f"{self.proxy_url}/_proxy").raise_for_status().json()
        return [one for one in found if one["method"] == method and one["path"].endswith(ends)]

    def polled(self) -> bool:
        """Whether somebody has asked, by way of the proxy, what became of a prediction."""
        return any("/predictions/" in one["path"] for one in self.requests("GET", ""))

    def outlasts[T](self, run: Callable[[], T]) -> T:
        """Run a prediction that has not ended when the create is answered, and that ends once the client has polled."""
        self.hold()
        with ThreadPoolExecutor(1) as pool:
            try:
                running = pool.submit(run)
                until(lambda: self.polled() or running.done())
            finally:
                self.misbehave()
            found = running.result()
        assert self.polled(), f"the client did not poll, and took for the output: {found!r}"
        return found
