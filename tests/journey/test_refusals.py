"""Refusals: one problem document each, which says what to change, and nothing reaches Replicate."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.journey.local import SCHNELL, Local, Tenant
from tests.journey.replicate import Replicate

pytestmark = pytest.mark.sockets

GENERATE = "/generate"
PREDICT = f"/v1/models/{SCHNELL}/predictions"
VERSION = "/v1/predictions"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Refused:
    """A request, and how it is refused; `fields` are the names in `invalid_fields`, `says` is in the detail."""

    path: str
    status: int
    code: str
    json: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    fields: tuple[str, ...] = ()
    says: str = ""

    def send(self, client: httpx.Client) -> httpx.Response:
        headers = dict(self.headers)
        content = self.content
        if self.json is not None:
            headers, content = JSON | headers, json.dumps(self.json).encode()
        return client.request(self.method, self.path, content=content, headers=headers)


def bad_input(says: str = "", *fields: str, **given: Any) -> Refused:
    """A prediction by Replicate's interface with this input."""
    body = {"input": {"prompt": "a fox", **given}}
    return Refused(PREDICT, 422, "invalid_input", json=body, fields=fields, says=says)


def bad_generate(says: str = "", *fields: str, **given: Any) -> Refused:
    """A prediction by the short interface with this body."""
    return Refused(GENERATE, 422, "invalid_input", json={"prompt": "a fox", **given}, fields=fields, says=says)


REFUSALS = {
    "an unknown field": bad_generate("num_images", "num_image", num_image=2),
    "several unknown fields": bad_generate("", "num_image", "sed", num_image=2, sed=1),
    "too many images": bad_generate("", "num_images", num_images=101),
    "no image": bad_generate("", "num_images", num_images=0),
    "a number in a string": bad_generate("", "num_images", num_images="2"),
    "an unknown input": bad_generate("aspect_ratio", "input.aspect_ration", input={"aspect_ration": "1:1"}),
    "no prompt": Refused(GENERATE, 422, "invalid_input", json={}, fields=("prompt",)),
    "an empty prompt": bad_generate("", "prompt", prompt=""),
    "a prompt of a megabyte": bad_generate("", "prompt", prompt="a" * 1_000_000),
    "an input out of range": bad_input("", "input.num_outputs", num_outputs=5),
    "several inputs out of range": bad_input(
        "", "input.num_outputs", "input.aspect_ratio", "input.output_quality",
        num_outputs=9, aspect_ratio="7:5", output_quality=101,
    ),
    "an input of the wrong type": bad_input("", "input.seed", seed="7"),
    "a /v1 prompt of a megabyte": bad_input("", "input.prompt", prompt="a" * 1_000_000),
    "no input": Refused(PREDICT, 422, "invalid_input", json={}, fields=("input",)),
    "an input that is no object": Refused(PREDICT, 422, "invalid_input", json={"input": "a fox"}, fields=("input",)),
    "no version": Refused(VERSION, 422, "invalid_input", json={"input": {"prompt": "a fox"}}, fields=("version",)),
    "a version alone": Refused(
        VERSION, 422, "invalid_input", json={"version": "0" * 64, "input": {"prompt": "a fox"}}, fields=("version",)
    ),
    "a webhook that is no URL": Refused(
        PREDICT, 422, "invalid_input", json={"input": {"prompt": "a fox"}, "webhook": "me"}, fields=("webhook",)
    ),
    "a list": Refused(GENERATE, 422, "invalid_input", json=[1]),
    "not JSON": Refused(GENERATE, 400, "malformed_json", content=b"{prompt: a fox}", headers=JSON),
    # As application/json, MiniStack mends it on the way.
    "not UTF-8": Refused(
        GENERATE, 400, "malformed_json", content=b'{"prompt": "\xff"}', headers={"content-type": "application/x+json"}
    ),
    "NaN": Refused(GENERATE, 400, "malformed_json", content=b'{"prompt": "a", "seed": NaN}', headers=JSON),
    "an empty body": Refused(GENERATE, 400, "malformed_json", content=b"", headers=JSON),
    "a form": Refused(
        GENERATE, 415, "unsupported_media_type", content=b"prompt=a+fox",
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
    "plain text": Refused(
        GENERATE, 415, "unsupported_media_type", content=b'{"prompt": "a fox"}', headers={"content-type": "text/plain"}
    ),
    "a body of six megabytes": Refused(
        GENERATE, 413, "payload_too_large", content=b'{"prompt": "' + b"a" * 6_000_000 + b'"}', headers=JSON
    ),
    "an unknown model": Refused(
        "/v1/models/black-forest-labs/flux-0/predictions", 404, "model_not_found", json={"input": {"prompt": "a"}}
    ),
    "a model that is not allowed": Refused(
        "/v1/models/somebody/something/predictions", 403, "model_not_allowed", json={"input": {"prompt": "a"}}
    ),
    "an unknown model by /generate": Refused(
        GENERATE, 404, "model_not_found", json={"prompt": "a", "model": "black-forest-labs/flux-0"}
    ),
    "a deadline in words": Refused(
        GENERATE, 422, "invalid_input", json={"prompt": "a"}, headers={"Cancel-After": "soon"}, fields=("Cancel-After",)
    ),
    "a key of 300 characters": Refused(
        GENERATE, 422, "invalid_input", json={"prompt": "a"}, headers={"Idempotency-Key": "k" * 300}
    ),
    "no key": Refused(GENERATE, 401, "unauthorized", json={"prompt": "a"}, headers={"Authorization": ""}),
    "a wrong key": Refused(
        GENERATE, 401, "unauthorized", json={"prompt": "a"}, headers={"Authorization": f"Bearer aft_demo_{'x' * 32}"}
    ),
    "a malformed key": Refused(
        PREDICT, 401, "unauthorized", json={"input": {"prompt": "a"}}, headers={"Authorization": "Bearer \x7f{}"}
    ),
    "basic authorization": Refused(
        VERSION, 401, "unauthorized", method="GET", headers={"Authorization": "Basic YTpi"}
    ),
    "an unknown /v1 route": Refused("/v1/collections", 404, "not_offered", method="GET"),
    "an unknown /v1 route to post to": Refused("/v1/collections", 404, "not_offered", json={}),
    "/v1 twice": Refused(f"/v1{VERSION}", 404, "not_offered", json={}, says="without /v1"),
    "/v1 twice, reading": Refused(f"/v1{VERSION}", 404, "not_offered", method="GET", says="without /v1"),
    "without /v1": Refused("/predictions", 404, "not_offered", json={}, says="with /v1"),
    "another route": Refused("/something", 404, "not_found", method="GET"),
    "another method": Refused(GENERATE, 404, "not_found", method="DELETE"),
    "a job that does not exist": Refused(f"{VERSION}/{'0' * 26}", 404, "not_found", method="GET"),
    "a job that cannot exist": Refused("/predictions/nothing", 404, "not_found", method="GET"),
    "canceling what does not exist": Refused(f"{VERSION}/{'0' * 26}/cancel", 404, "not_found"),
    "an unknown status to list": Refused(
        "/predictions?status=done", 422, "invalid_input", method="GET", fields=("status",)
    ),
    "a broken cursor": Refused("/v1/predictions?cursor=x", 422, "invalid_input", method="GET", fields=("cursor",)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_request_gets_a_whole_problem_document_and_reaches_nobody(
    tenant: Tenant, local: Local, replicate: Replicate, case: str
) -> None:
    refused = REFUSALS[case]
    creates = replicate.creates()
    check_problem(refused.send(tenant.http), refused)
    assert replicate.creates() == creates
    assert local.jobs_of(tenant) == []
    assert local.account(tenant) == (0, 0)


def test_another_tenants_job_can_be_neither_read_nor_canceled(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate()])
    before = local.item(job.id)
    with local.tenant() as other:
        for path, method in ((f"/v1/predictions/{job.id}", "GET"), (f"/predictions/{job.id}", "GET")):
            refused = Refused(path, 404, "not_found", method=method)
            check_problem(refused.send(other.http), refused)
            refused = Refused(f"{path}/cancel", 404, "not_found")
            check_problem(refused.send(other.http), refused)
    assert local.item(job.id) == before


def test_refusals_use_up_nothing_of_the_minute(local: Local) -> None:
    with local.tenant(rate_per_minute=1) as tenant:
        for _ in range(3):
            assert tenant.http.post(GENERATE, json={"prompt": "a", "num_images": 101}).status_code == 422
        local.end([tenant.generate()])


def test_what_replicate_refuses_is_refused_with_its_fields_and_costs_nothing(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    replicate.misbehave({"on": "create", "kind": "invalid", "field": "input.prompt", "description": "too odd"})
    refused = Refused(PREDICT, 422, "upstream_rejected", json={"input": {"prompt": "a"}}, fields=("input.prompt",))
    key = {"Idempotency-Key": "odd"}
    answers = [tenant.predict(headers=key), tenant.predict(headers=key)]
    for answer in answers:
        check_problem(answer, refused)
    (job,) = local.end([one.id for one in local.jobs_of(tenant)])
    assert {answer.headers["location"] for answer in answers} == {f"{local.stack.api_url}/v1/predictions/{job.id}"}
    assert tenant.read(job.id)["afterimage"]["problem"]["code"] == "upstream_rejected"
    assert local.manifest(job)["status"] == "failed"
    assert (local.account(tenant), local.charged([job])) == ((0, 0), 0)


def check_problem(answer: httpx.Response, refused: Refused) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (refused.status, refused.code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-should-retry"] == "false"
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance"),
        *("code", "retryable", "request_id", "invalid_fields"),
    }
    assert problem["status"] == refused.status
    assert problem["retryable"] is False
    assert problem["instance"] == answer.request.url.path
    assert problem["request_id"] == answer.headers["x-request-id"] != "unknown"
    assert problem["type"].endswith(refused.code)
    assert {one["field"] for one in problem["invalid_fields"]} == set(refused.fields)
    assert all(one["description"] for one in problem["invalid_fields"])
    # Some clients show nothing but the detail.
    for said in (*refused.fields, refused.says):
        assert said in problem["detail"]
    assert len(problem["detail"]) < 2_000
    assert ("www-authenticate" in answer.headers) == (refused.status == 401)
