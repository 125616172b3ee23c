"""The layer around every HTTP function: closed by default, and one shape for every refusal."""

import json
from typing import Any

import pytest

from shared.accounts import Accounts
from shared.endpoint import Request, Response, Route, endpoint
from shared.errors import KINDS, Code, InvalidField, Refusal
from tests.support.problems import MEMBERS
from tests.support.world import ALICE, World, http_event


def hello(request: Request, _: None) -> Response:
    return Response(200, {"params": dict(request.params), "origin": request.origin, "query": dict(request.query)})


def refuse(_: Request, __: None) -> Response:
    fields = (InvalidField("a", "is wrong"),)
    raise Refusal(Code.RATE_LIMITED, "- a: is wrong", fields, retry_after=1.2, headers={"x-more": "1"})


def fail(_: Request, __: None) -> Response:
    raise KeyError("a secret")


ROUTES: tuple[Route[None], ...] = (
    Route("GET", "/closed", hello),
    Route("GET", "/open/{name}.{extension}", hello, public=True),
    Route("GET", "/refuse", refuse, public=True),
    Route("GET", "/fail", fail, public=True),
    Route("GET", "/bytes", lambda *_: Response(200, b"\xff\x00", {"content-type": "image/webp"}), public=True),
    Route("GET", "/jobs/{job_id}", lambda *_: Response(204), public=True),
    Route("GET", "/nothing", lambda *_: Response(204), public=True),
)


def call(path: str, accounts: Accounts | None = None, **options: Any) -> dict[str, Any]:
    handler = endpoint(
        ROUTES, wire=lambda: None, accounts=lambda _: accounts, origins=lambda _: ("https://one.example", "http://two")
    )
    return handler(http_event("GET", path, **options), None)


def test_a_route_is_closed_unless_it_says_otherwise() -> None:
    assert call("/closed")["statusCode"] == 401
    assert call("/closed", key="aft_alice_" + "x" * 32)["statusCode"] == 401


def test_a_closed_route_opens_for_a_key(world: World) -> None:
    assert call("/closed", world.accounts, key=world.keys[ALICE])["statusCode"] == 200


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/open/a.webp", '"name": "a", "extension": "webp"'),
        ("/open/a.b.webp", '"name": "a.b", "extension": "webp"'),
        ("/open/a", None),
        ("/open/a/b.webp", None),
        ("/open/.webp", None),
        ("/open/awebp", None),
    ],
)
def test_a_path_is_matched_whole(path: str, params: str | None) -> None:
    answered = call(path)
    assert answered["statusCode"] == (200 if params else 404)
    assert (params or "") in answered["body"]


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        ("one.example", "https", "https://one.example"),
        ("ONE.example", "HTTPS", "https://one.example"),
        ("two", "http", "http://two"),
        ("two", "https", "https://one.example"),
        ("evil.example", "https", "https://one.example"),
        ("one.example@evil.example", "https", "https://one.example"),
        ("", "", "https://one.example"),
    ],
)
def test_links_lead_only_to_our_own_origins(host: str, scheme: str, origin: str) -> None:
    answered = call("/open/a.b", headers={"host": host, "x-forwarded-proto": scheme})
    assert f'"origin": "{origin}"' in answered["body"]


def test_a_refusal_becomes_a_problem_with_its_headers() -> None:
    answered = call("/refuse")
    assert answered["statusCode"] == 429
    assert answered["headers"]["content-type"] == "application/problem+json"
    assert (answered["headers"]["retry-after"], answered["headers"]["x-more"]) == ("2", "1")
    assert "x-should-retry" not in answered["headers"]


def test_what_nobody_expected_tells_nothing(logged: list[str]) -> None:
    answered = call("/fail")
    assert answered["statusCode"] == 500
    assert all(name in answered["body"] for name in MEMBERS)
    assert "secret" not in answered["body"]
    assert "KeyError" in "".join(logged)
    assert "secret" not in "".join(logged)


JOB_ID = "01m8828n82fnbfkv24fvhrwmfp"


def test_every_line_about_a_request_names_its_route_and_its_job_and_none_of_the_next(logged: list[str]) -> None:
    for path in (f"/jobs/{JOB_ID}", "/nothing", "/refuse", "/elsewhere"):
        call(path)
    told = [{name: line.get(name) for name in ("message", "route", "job_id")} for line in map(json.loads, logged)]
    assert told == [
        {"message": "answered", "route": "GET /jobs/{job_id}", "job_id": JOB_ID},
        {"message": "answered", "route": "GET /nothing", "job_id": None},
        {"message": "refused", "route": "GET /refuse", "job_id": None},
        {"message": "refused", "route": None, "job_id": None},
    ]


@pytest.mark.parametrize("given", ["aft_alice_" + "x" * 32, JOB_ID + "0", JOB_ID.upper(), "x" * 26])
def test_what_is_no_id_of_a_job_is_not_logged_where_one_should_stand(logged: list[str], given: str) -> None:
    call(f"/jobs/{given}")
    assert len(logged) == 1
    assert given not in logged[0]


def test_bytes_are_sent_as_they_are() -> None:
    answered = call("/bytes")
    assert (answered["body"], answered["isBase64Encoded"]) == ("/wA=", True)


def test_nothing_is_sent_as_nothing() -> None:
    answered = call("/nothing")
    assert answered["statusCode"] == 204
    assert "body" not in answered


@pytest.mark.parametrize("event", [{}, {"rawPath": "/open/a.b"}, {"requestContext": {}}])
def test_an_event_that_is_none_is_still_answered(event: dict[str, Any]) -> None:
    handler = endpoint(ROUTES, wire=lambda: None)
    assert handler(event, None)["statusCode"] == 500


def test_a_wiring_that_fails_is_answered_too_and_tried_again() -> None:
    tries: list[int] = []

    def wire() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")

    handler = endpoint(ROUTES, wire=wire)
    assert handler(http_event("GET", "/nothing"), None)["statusCode"] == 500
    assert handler(http_event("GET", "/nothing"), None)["statusCode"] == 204


def test_every_code_has_its_meaning() -> None:
    assert set(KINDS) == set(Code)
    assert all(400 <= kind.status < 600 and kind.title for kind in KINDS.values())
