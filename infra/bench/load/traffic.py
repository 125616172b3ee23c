"""What callers do, for locust: each starts a job, follows it to its end as it is told to, and starts the next.

Locust runs this in an environment of its own, without the project's packages. What it is to do is in the file that
LOAD_SPEC names; what was accepted, and what every request was answered, goes to the file `record` there.
"""

import json
import os
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task
from locust.exception import StopUser

SPEC = json.loads(Path(os.environ["LOAD_SPEC"]).read_text())
MODEL = "black-forest-labs/flux-schnell"
SMALL = {"megapixels": "0.25"}
ENDS = frozenset({"succeeded", "failed", "canceled"})
FOLLOWED_S = 300  # the longest that a caller waits for the end of a job
# Of ten jobs in a row, how many are created in which way; of ten times ten, which tenant's they are: one is large.
WAYS = ("replicate",) * 4 + ("short",) * 3 + ("wait",) * 2 + ("version",)
TENANTS = (0,) * 6 + (1,) * 3 + (2,)
JOBS_A_LIST = 10

numbers = count()
accepted: list[dict[str, Any]] = []
done: list[int] = []
times: list[float] = []
answers: Counter[str] = Counter()


@events.test_start.add_listener
def begin(**_: Any) -> None:
    """Begin to take the time."""
    times.append(time.monotonic())


@events.request.add_listener
def note(name: str, response: Any, exception: Any, **_: Any) -> None:
    """Count an answer by what was asked for and its status, or by what was raised instead."""
    status = getattr(response, "status_code", 0)
    answers[f"{name}: {status or type(exception).__name__}"] += 1


@events.quitting.add_listener
def write(**_: Any) -> None:
    """Leave the record."""
    record = {"accepted": accepted, "answers": answers, "seconds": time.monotonic() - times[0]}
    Path(SPEC["record"]).write_text(json.dumps(record))


class Caller(FastHttpUser):
    """Somebody who has one job at a time."""

    host = SPEC["api_url"]
    wait_time = constant(0)
    connection_timeout = network_timeout = 200.0

    @task
    def run_job(self) -> None:
        """Start the next job, and follow it."""
        number = next(numbers)
        if number >= SPEC["jobs"]:
            raise StopUser
        key = SPEC["keys"][TENANTS[number // 10 % 10] % len(SPEC["keys"])]
        headers = {"Authorization": f"Bearer {key}"}
        way = WAYS[number % 10]
        answer = self.create(way, headers)
        if answer.status_code in {200, 201, 202}:
            document = answer.json()
            job_id = document.get("prediction_id") or document["id"]
            job = {"id": job_id, "end": None}
            accepted.append(job)
            job["end"] = self.follow(job_id, way, answer, headers)
        if number % JOBS_A_LIST == 0:
            self.client.get("/v1/predictions", headers=headers, name="list")
        done.append(number)
        if len(done) == SPEC["jobs"]:
            self.environment.runner.quit()

    def create(self, way: str, headers: dict[str, str]) -> Any:
        """Create a job in one of the ways that callers have."""
        wanted = {"prompt": "a quiet harbour", **SMALL}
        match way:
            case "short":
                body = {"prompt": "a quiet harbour", "model": MODEL, "num_images": 1, "input": SMALL}
                return self.client.post("/generate", json=body, headers=headers, name="create, short interface")
            case "version":
                body = {"version": MODEL, "input": wanted}
                return self.client.post("/v1/predictions", json=body, headers=headers, name="create")
        path = f"/v1/models/{MODEL}/predictions"
        if way == "wait":
            held = headers | {"Prefer": "wait=20"}
            return self.client.post(path, json={"input": wanted}, headers=held, name="create and wait")
        return self.client.post(path, json={"input": wanted}, headers=headers, name="create")

    def follow(self, job_id: str, way: str, answer: Any, headers: dict[str, str]) -> str | None:
        """Ask for a job as often as it is said to, and give how it ended."""
        path = f"/predictions/{job_id}" if way == "short" else f"/v1/predictions/{job_id}"
        until = time.monotonic() + FOLLOWED_S
        while time.monotonic() < until:
            if answer.status_code in {200, 201} and (status := answer.json()["status"]) in ENDS:
                return str(status)
            gevent.sleep(float((answer.headers or {}).get("retry-after-ms") or 1000) / 1000)
            answer = self.client.get(path, headers=headers, name="status")
        return None
