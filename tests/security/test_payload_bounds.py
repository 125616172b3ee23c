"""What is sent is bounded on every route: too much, too deep or too odd is refused, and changes nothing."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from infra.openapi.document import served
from shared.endpoint import LARGEST_BODY
from shared.file_forms import LARGEST_FILE
from shared.identifiers import new_job_id
from shared.services import now
from tests.functions.test_uploads import form
from tests.security.scene import FORM, MODEL, PARAMETERS, TRAINER, VERSION
from tests.support.catalog import PlayedCatalog
from tests.support.replicate import FakeReplicate
from tests.support.submits import Caller, configured
from tests.support.world import World, http_event

pytestmark = pytest.mark.sockets

ROUTES = served()
WITH_JSON = sorted(key for key, route in ROUTES.items() if route.body)
OTHERS = sorted(set(ROUTES) - set(WITH_JSON))


@pytest.fixture(scope="module")
def tenant(standing: tuple[World, FakeReplicate]) -> Iterator[Caller]:
    """A tenant, where everything is there that the routes may name."""
    world, replicate = standing
    played = PlayedCatalog()
    played.has_model(TRAINER, VERSION)
    played.has_model(MODEL, VERSION)
    replicate.catalog |= played.catalog
    with configured(world, **PARAMETERS):
        yield Caller(world, replicate)


def path_of(route: str) -> str:
    """Give a path of the route whose names are right."""
    owner, _, name = (TRAINER if "trainings" in route and "versions" in route else MODEL).partition("/")
    if "deployments" in route:
        owner, name = "acme", "fast"
    elif route.startswith("GET /files/"):
        name = "0.webp"
    given = {
        "owner": owner,
        "name": name,
        "version": "latest",
        "job_id": new_job_id(now()),
        "file_id": new_job_id(now()),
    }
    return re.sub(r"{(\w+)}", lambda match: given[match[1]], route.partition(" ")[2])


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def in_body(value: bytes) -> bytes:
    """Give a body of any route in which this is a field of the input."""
    return b'{"prompt": "a", "version": "%s", "input": {"prompt": "a", "extra": %s}}' % (MODEL.encode(), value)


BODIES: Mapping[str, tuple[bytes, set[int]]] = {
    "nothing": (b"", {400}),
    "no JSON": (b"prompt=a", {400}),
    "no UTF-8": (b'{"prompt": "\xff"}', {400}),
    "half a surrogate pair": (b'{"prompt": "\\ud800"}', {400}),
    "no object": (b'["prompt"]', {422}),
    "a lone null": (b"null", {422}),
    "no number": (in_body(b"NaN"), {400}),
    "no finite number": (in_body(b"1e999"), {400}),
    "a number of 5,000 digits": (in_body(b"9" * 5_000), {400}),
    "100,000 brackets": (b"[" * 100_000, {400}),
    "100,000 levels": (in_body(nested(100_000)), {400}),
    "more bytes than a body may have": (in_body(b'"%s"' % (b"x" * LARGEST_BODY)), {413}),
    "more bytes than a body may have, without sense": (b"x" * (LARGEST_BODY + 1), {413}),
    "more bytes than a body may have, of nothing": (b" " * (LARGEST_BODY + 1), {413}),
}


@pytest.mark.parametrize("route", WITH_JSON)
@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_bounded_json_is_refused(tenant: Caller, route: str, name: str) -> None:
    body, statuses = BODIES[name]
    before = tenant.state
    answered = post(tenant, path_of(route), body)
    assert answered.status in statuses, answered.body[:500]
    assert len(answered.body) < 5_000, "what was sent is not sent back"
    assert tenant.state == before


@pytest.mark.parametrize("route", WITH_JSON)
def test_a_body_of_another_type_is_refused(tenant: Caller, route: str) -> None:
    before = tenant.state
    for media_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
        "x",
    ):
        answered = post(tenant, path_of(route), b'{"prompt": "a"}', media_type)
        assert (answered.status, answered.json["code"]) == (415, "unsupported_media_type")
    assert tenant.state == before


@pytest.mark.parametrize("route", WITH_JSON)
@pytest.mark.parametrize("levels", [50, 500, 900, 2_000, 20_000])
def test_a_deep_body_is_taken_or_refused_and_never_breaks_anything(tenant: Caller, route: str, levels: int) -> None:
    for body in (in_body(nested(levels)), nested(levels), b'{"input":' * levels + b"1" + b"}" * levels):
        answered = post(tenant, path_of(route), body)
        assert answered.status < 500, answered.body[:500]


def post(tenant: Caller, path: str, body: bytes, media_type: str = "application/json") -> Any:
    return tenant.world.request("POST", path, body, key=tenant.key, headers={"content-type": media_type})


LONG: Mapping[str, Callable[[], Any]] = {
    "a prompt of a megabyte": lambda: {"prompt": "a" * 1_000_000},
    "a model of a megabyte": lambda: {"prompt": "a", "model": "a/" + "b" * 1_000_000},
    "a version of a megabyte": lambda: {"version": "0" * 1_000_000, "input": {"prompt": "a"}},
    "a field's name of a megabyte": lambda: {"prompt": "a", "x" * 1_000_000: 1},
    "100,000 unknown fields": lambda: {"prompt": "a", **{f"x{n}": 1 for n in range(100_000)}},
    "100,000 unknown inputs": lambda: {"prompt": "a", "version": MODEL, "input": {f"x{n}": 1 for n in range(100_000)}},
    "100,000 prompts": lambda: {"prompts": ["a"] * 100_000},
    "a number where text must be": lambda: {"prompt": 10**300, "version": 5, "input": 5, "webhook": 5},
    "objects where text must be": lambda: {"prompt": {}, "version": {}, "input": [], "webhook": {}, "model": {}},
    "an input of a megabyte that nobody knows": lambda: {"version": MODEL, "input": {"x": "a" * 1_000_000}},
}


@pytest.mark.parametrize("route", WITH_JSON)
@pytest.mark.parametrize("name", LONG)
def test_a_long_or_odd_field_is_refused_in_few_words(tenant: Caller, route: str, name: str) -> None:
    before = tenant.state
    answered = post(tenant, path_of(route), json.dumps(LONG[name]()).encode())
    assert answered.status in {403, 404, 422}, answered.body[:500]
    assert len(answered.body) < 200_000, "an answer that large would itself be a burden"
    assert tenant.state == before


HEADERS: Mapping[str, Mapping[str, str]] = {
    "a key of a megabyte": {"idempotency-key": "k" * 1_000_000},
    "a key that is not ASCII": {"idempotency-key": "ключ"},
    "an empty key": {"idempotency-key": ""},
    "a wait of for ever": {"prefer": "wait=99999999999999999999"},
    "a wait of 5,000 digits": {"prefer": f"wait={'9' * 5_000}"},
    "a negative wait": {"prefer": "wait=-1"},
    "10,000 preferences": {"prefer": "x," * 10_000},
    "a deadline in words": {"cancel-after": "soon"},
    "a deadline of 5,000 digits": {"cancel-after": f"{'9' * 5_000}s"},
    "10,000 retries": {"x-stainless-retry-count": "10000"},
    "retries of 5,000 digits": {"x-stainless-retry-count": "9" * 5_000},
    "retries in words": {"x-stainless-retry-count": "many"},
    "10,000 tags": {"if-none-match": '"x",' * 10_000},
    "a type of a megabyte": {"content-type": "application/json;" + "x" * 1_000_000},
    "a host of somebody else's": {"host": "evil.example", "x-forwarded-proto": "javascript"},
    "a key to authorize of a megabyte": {"authorization": "Bearer " + "x" * 1_000_000},
}
ODD_QUERY = {"cursor": "x" * 5_000, "status": "\ud83d", "batch_id": "é" * 500, "e": "9" * 5_000, "s": "x" * 5_000}


@pytest.mark.parametrize("route", ROUTES)
def test_no_header_breaks_anything(tenant: Caller, route: str) -> None:
    method, path = route.partition(" ")[0], path_of(route)
    body = b"{}" if method == "POST" else None
    for name, headers in HEADERS.items():
        sent = {"content-type": "application/json", **headers}
        answered = tenant.world.request(method, path, body, key=tenant.key, headers=sent)
        assert answered.status < 500, (name, answered.body[:500])
        assert b"evil.example" not in answered.body, "links lead only to our own places"
        assert "evil.example" not in str(answered.headers)


@pytest.mark.parametrize("route", ROUTES)
def test_no_query_and_no_path_breaks_anything(tenant: Caller, route: str) -> None:
    method, path = route.partition(" ")[0], path_of(route)
    body = b"{}" if method == "POST" else None
    json_too = {"content-type": "application/json"}

    def add(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "queryStringParameters": ODD_QUERY}

    answered = tenant.world.request(method, path, body, key=tenant.key, headers=json_too, alter=add)
    assert answered.status < 500, answered.body[:500]
    for odd in ("x" * 8_000, "..%2F..%2F", "%00", "é", "\ud83e\udd8a", "0" * 26, "{job_id}", "*", "'; DROP TABLE jobs"):
        named = re.sub(r"{\w+}", lambda _, odd=odd: odd, route.partition(" ")[2])  # type: ignore[misc]
        event = http_event(method, path, body, key=tenant.key, headers=json_too) | {"rawPath": named}
        function = tenant.world.template.function_of_route(method, path)
        given = tenant.world.call(function.name, event)
        assert given["statusCode"] < 500, (odd, given)


FORMS: Mapping[str, tuple[bytes, int]] = {
    "nothing": (b"", 422),
    "no form": (b"x" * 1_000, 422),
    "a form without an end": (form(b"x")[:-20], 422),
    "a form without a file": (form(None), 422),
    "more bytes than a file may have": (form(b"x" * (LARGEST_FILE + 1)), 413),
    "a name of a megabyte": (form(b"x", name="x" * 1_000_000), 422),
    "metadata that are no JSON": (form(b"x", metadata="{"), 422),
    "metadata of 100,000 levels": (form(b"x", metadata="[" * 100_000), 422),
    "metadata of a megabyte": (form(b"x", metadata=json.dumps({"x": "x" * 1_000_000})), 422),
    "1,000 fields": (form(b"x", **{f"x{n}": "" for n in range(1_000)}), 422),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_too_large_or_too_odd_is_refused(tenant: Caller, name: str) -> None:
    body, status = FORMS[name]
    before = tenant.world.stored()
    answered = tenant.world.request("POST", "/v1/files", body, key=tenant.key, headers=FORM)
    assert answered.status == status, answered.body[:500]
    assert len(answered.body) < 5_000
    assert tenant.world.stored() == before
