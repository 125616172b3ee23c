"""The gateway to Replicate: what was surely not taken is told apart, and nothing is repeated."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.errors import (
    AfterimageError,
    Cause,
    InvalidField,
    UpstreamNotTaken,
    UpstreamRefused,
    UpstreamUnclear,
)
from shared.job import Kind
from shared.prediction import Prediction
from shared.replicate_api import LONGEST_RETRY_S, MOST_BYTES, Creation, ReplicateApi
from tests.support.loopback import Answer
from tests.support.replicate import TOKEN, FakeReplicate, answer, prediction, training

BASE = "https://api.replicate.com"
THROTTLED = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
NOT_ASKED_AGAIN = 1


@pytest.fixture
def fake() -> FakeReplicate:
    return FakeReplicate()


@pytest.fixture
def api(fake: FakeReplicate) -> ReplicateApi:
    return ReplicateApi(token=TOKEN, base_url=BASE, transport=fake)


def create(api: ReplicateApi, **changes: Any) -> Prediction:
    order: dict[str, Any] = {
        "model": "black-forest-labs/flux-schnell",
        "version": None,
        "input": {"prompt": "a fox"},
        "webhook": "https://images.example.com/webhooks/replicate/j?attempt=1&k=x",
        "events": ("start", "logs", "completed"),
    }
    return api.create(Creation(**{**order, **changes}))


CALLS: dict[str, Callable[[ReplicateApi], object]] = {
    "create": create,
    "create of a version": lambda api: create(api, version="a" * 64),
    "create of a deployment": lambda api: create(api, deployment="acme/fast"),
    "create of a training": lambda api: create(api, version="a" * 64, destination="acme/fox"),
    "get": lambda api: api.get("p1"),
    "cancel": lambda api: api.cancel("p1"),
    "get of a training": lambda api: api.get("p1", Kind.TRAINING),
    "cancel of a training": lambda api: api.cancel("p1", Kind.TRAINING),
}
READS: dict[str, tuple[str, Callable[[ReplicateApi], Any]]] = {
    "model": ("/v1/models/acme/fox", lambda api: api.model("acme/fox")),
    "versions": ("/v1/models/acme/fox/versions", lambda api: api.versions("acme/fox")),
    "version": (f"/v1/models/acme/fox/versions/{'a' * 64}", lambda api: api.version("acme/fox", "a" * 64)),
    "deployment": ("/v1/deployments/acme/fast", lambda api: api.deployment("acme/fast")),
}
each_read = pytest.mark.parametrize(("path", "read"), READS.values(), ids=READS.keys())
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


# What is sent


def test_a_create_asks_the_official_model_for_exactly_what_was_ordered(api: ReplicateApi, fake: FakeReplicate) -> None:
    assert create(api).id == "prediction1"
    (call,) = fake.calls
    assert (call.method, call.path) == ("POST", "/v1/models/black-forest-labs/flux-schnell/predictions")
    assert json.loads(call.body) == {
        "input": {"prompt": "a fox"},
        "webhook": "https://images.example.com/webhooks/replicate/j?attempt=1&k=x",
        "webhook_events_filter": ["start", "logs", "completed"],
    }
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert "prefer" not in call.headers


def test_a_deadline_goes_with_its_create_and_with_nothing_else(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(Answer(500))
    with pytest.raises(UpstreamUnclear):
        create(api, cancel_after_s=90)
    api.get("p1")
    create(api)
    create(api, cancel_after_s=5)
    assert [call.headers.get("cancel-after") for call in fake.calls] == ["90s", None, None, "5s"]


def test_a_create_of_a_version_names_it(api: ReplicateApi, fake: FakeReplicate) -> None:
    create(api, version="a" * 64)
    (call,) = fake.calls
    assert (call.method, call.path) == ("POST", "/v1/predictions")
    assert json.loads(call.body)["version"].endswith("a" * 64)


def test_a_create_on_a_deployment_names_neither_model_nor_version(api: ReplicateApi, fake: FakeReplicate) -> None:
    create(api, deployment="acme/fast", version="a" * 64)
    (call,) = fake.calls
    assert (call.method, call.path) == ("POST", "/v1/deployments/acme/fast/predictions")
    assert set(json.loads(call.body)) == {"input", "webhook", "webhook_events_filter"}


def test_a_training_names_its_destination(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(answer(201, training("t1")))
    started = create(api, model="acme/trainer", version="a" * 64, destination="acme/fox", webhook=None)
    assert started.id == "t1"
    (call,) = fake.calls
    assert (call.method, call.path) == ("POST", f"/v1/models/acme/trainer/versions/{'a' * 64}/trainings")
    assert json.loads(call.body) == {"input": {"prompt": "a fox"}, "destination": "acme/fox"}


@pytest.mark.parametrize(("kind", "base"), [(Kind.PREDICTION, "/v1/predictions"), (Kind.TRAINING, "/v1/trainings")])
def test_what_was_made_is_read_and_canceled_where_it_is(
    api: ReplicateApi, fake: FakeReplicate, kind: Kind, base: str
) -> None:
    fake.will(answer(200, prediction("p1")), answer(200, prediction("p1", "canceled")))
    assert api.get("p1", kind)["status"] == "starting"
    assert api.cancel("p1", kind)["status"] == "canceled"
    assert [(call.method, call.path) for call in fake.calls] == [("GET", f"{base}/p1"), ("POST", f"{base}/p1/cancel")]


@each_read
def test_the_catalog_is_read_as_it_is(
    api: ReplicateApi, fake: FakeReplicate, path: str, read: Callable[[ReplicateApi], Any]
) -> None:
    document = {"of_the_future": {"a": [1]}, "name": None}
    fake.catalog[path.removeprefix("/v1/")] = document
    assert read(api) == document
    assert fake.catalog_calls == [path]


@each_read
@pytest.mark.parametrize(
    ("found", "error"),
    [
        (answer(404, {"detail": "no", "status": 404}), UpstreamRefused),
        (answer(401, {}), UpstreamNotTaken),
        (answer(429, {}), UpstreamNotTaken),
        (Answer(500), UpstreamUnclear),
        (Answer(200, b"<html>"), UpstreamUnclear),
        (answer(200, ["a list"]), UpstreamUnclear),
        (answer(200, None), UpstreamUnclear),
    ],
)
def test_a_catalog_that_cannot_be_read_says_why(
    api: ReplicateApi, fake: FakeReplicate, *, path: str, read: Callable[[ReplicateApi], Any], found: Answer,
    error: type[Exception],
) -> None:  # fmt: skip
    fake.catalog[path.removeprefix("/v1/")] = found
    with pytest.raises(error):
        read(api)
    assert len(fake.catalog_calls) == NOT_ASKED_AGAIN


def test_a_model_is_made_private_and_idle(api: ReplicateApi, fake: FakeReplicate) -> None:
    api.create_model("acme/fox")
    (call,) = fake.calls
    assert (call.method, call.path) == ("POST", "/v1/models")
    assert json.loads(call.body) == {"owner": "acme", "name": "fox", "visibility": "private", "hardware": "cpu"}


def test_a_model_that_cannot_be_made_says_why(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(answer(409, {"detail": "There is one.", "status": 409}), Answer(503))
    with pytest.raises(UpstreamRefused, match=r"409|There is one"):
        api.create_model("acme/fox")
    with pytest.raises(UpstreamUnclear):
        api.create_model("acme/fox")


def test_cancel_goes_to_our_own_base_and_not_where_the_answer_says(api: ReplicateApi, fake: FakeReplicate) -> None:
    document = prediction(
        "p1", "canceled", urls={"cancel": "https://evil.example/cancel", "get": "https://evil.example/"}
    )
    fake.will(answer(200, document))
    api.cancel("p1")
    (call,) = fake.calls
    assert (call.method, call.path) == ("POST", "/v1/predictions/p1/cancel")


def test_no_token_is_an_error_and_not_looked_for_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_environment")
    with pytest.raises(ValueError, match="token"):
        ReplicateApi(token="", base_url=BASE)


def test_the_environment_changes_neither_token_nor_host(fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_environment")
    monkeypatch.setenv("REPLICATE_BASE_URL", "https://evil.example")
    create(ReplicateApi(token=TOKEN, base_url=BASE, transport=fake))
    assert fake.calls[0].headers["host"] == "api.replicate.com"
    assert fake.calls[0].headers["authorization"] == f"Bearer {TOKEN}"


# Definite refusals


@each_call
@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422])
def test_a_definite_no_is_a_refusal_with_replicates_words(
    api: ReplicateApi, fake: FakeReplicate, call: Callable[[ReplicateApi], object], status: int
) -> None:
    fake.will(
        answer(status, {"title": "Invalid version or not permitted", "detail": "It does not exist.", "status": status})
    )
    with pytest.raises(UpstreamRefused) as caught:
        call(api)
    assert (caught.value.status, caught.value.detail) == (status, "It does not exist.")
    assert len(fake.calls) == NOT_ASKED_AGAIN


def test_invalid_fields_are_kept(api: ReplicateApi, fake: FakeReplicate) -> None:
    document = {
        "detail": "- input.output_format: must be one of webp, jpg, png\n",
        "status": 422,
        "title": "Input validation failed",
        "invalid_fields": [
            {"type": "enum", "field": "input.output_format", "description": "must be one of webp, jpg, png"},
            {"type": "required", "field": "input.prompt", "description": "is required"},
            "nonsense",
            {},
        ],
    }
    fake.will(answer(422, document))
    with pytest.raises(UpstreamRefused) as caught:
        create(api)
    assert caught.value.invalid_fields[:2] == (
        InvalidField("input.output_format", "must be one of webp, jpg, png"),
        InvalidField("input.prompt", "is required"),
    )
    assert caught.value.detail == "- input.output_format: must be one of webp, jpg, png"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>no</html>", b"[]", b'["a", 1]', b"null", b'"text"', b"12", b"\xff\xfe\x00", b'{"detail": null}',
     b'{"detail": ["a", {"b": 1}]}', b'{"invalid_fields": {"a": 1}}', b'{"invalid_fields": [1, null]}', b"[" * 100_000],
)  # fmt: skip
@pytest.mark.parametrize("status", [422, 429, 500])
def test_an_error_of_any_shape_is_classified_by_its_status(
    api: ReplicateApi, fake: FakeReplicate, status: int, body: bytes
) -> None:
    fake.will(Answer(status, body))
    expected = {422: UpstreamRefused, 429: UpstreamNotTaken, 500: UpstreamUnclear}[status]
    with pytest.raises(expected) as caught:
        create(api)
    if isinstance(caught.value, UpstreamRefused):
        assert caught.value.detail


# Surely not taken


@each_call
@pytest.mark.parametrize(
    ("status", "cause"),
    [(429, Cause.THROTTLED), (402, Cause.NO_CREDIT), (401, Cause.CREDENTIALS), (403, Cause.FORBIDDEN)],
)
def test_what_replicate_did_not_take_may_be_sent_again_but_not_here(
    api: ReplicateApi, fake: FakeReplicate, call: Callable[[ReplicateApi], object], status: int, cause: Cause
) -> None:
    fake.will(answer(status, {"detail": "no", "status": status}, {"retry-after": "9999"}))
    with pytest.raises(UpstreamNotTaken) as caught:
        call(api)
    assert caught.value.cause is cause
    assert len(fake.calls) == NOT_ASKED_AGAIN


@each_call
@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"),
        httpx.ConnectTimeout("slow"),
        httpx.PoolTimeout("full"),
    ],
)
def test_without_a_connection_nothing_was_taken(
    api: ReplicateApi, fake: FakeReplicate, call: Callable[[ReplicateApi], object], error: Exception
) -> None:
    fake.will(error)
    with pytest.raises(UpstreamNotTaken) as caught:
        call(api)
    assert caught.value.cause is Cause.NO_CONNECTION
    assert len(fake.calls) == NOT_ASKED_AGAIN


@pytest.mark.parametrize(
    ("document", "headers", "expected"),
    [
        (THROTTLED, {}, 30),
        ({"detail": "resets in 12 s"}, {}, 12),
        ({**THROTTLED, "retry_after": 4}, {"retry-after": "9"}, 4),
        (THROTTLED, {"retry-after": "9"}, 9),
        ({"detail": "throttled"}, {"retry-after": "9"}, 9),
        ({"detail": "throttled"}, {"retry-after": "0"}, 0),
        ({"detail": "throttled"}, {"retry-after": "1.5"}, 1.5),
        ({"detail": "throttled", "retry_after": "7"}, {}, 7),
        ({"detail": "throttled"}, {"retry-after": "999999"}, LONGEST_RETRY_S),
        ({"detail": "resets in ~99999s"}, {}, LONGEST_RETRY_S),
        ({"detail": "throttled", "retry_after": 1e300}, {}, LONGEST_RETRY_S),
        ({"detail": "throttled"}, {"retry-after": "inf"}, LONGEST_RETRY_S),
        ({"detail": "throttled"}, {"retry-after": "nan"}, None),
        ({"detail": "throttled"}, {"retry-after": "-5"}, None),
        ({"detail": "throttled"}, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"detail": "throttled", "retry_after": [1]}, {}, None),
        ({"detail": "throttled"}, {}, None),
    ],
)
def test_the_time_to_come_back_is_found_wherever_replicate_says_it_and_capped(
    api: ReplicateApi, fake: FakeReplicate, document: Any, headers: dict[str, str], expected: float | None
) -> None:
    fake.will(answer(429, document, headers))
    with pytest.raises(UpstreamNotTaken) as caught:
        create(api)
    assert caught.value.retry_after == expected


# Ambiguous


@each_call
@pytest.mark.parametrize("status", [300, 302, 307, 408, 418, 425, 451, 500, 502, 503, 504, 520, 599])
def test_any_other_status_is_unclear(
    api: ReplicateApi, fake: FakeReplicate, call: Callable[[ReplicateApi], object], status: int
) -> None:
    fake.will(answer(status, {"detail": "?"}, {"location": "https://evil.example/", "retry-after": "0"}))
    with pytest.raises(UpstreamUnclear):
        call(api)
    assert len(fake.calls) == NOT_ASKED_AGAIN


@each_call
@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.WriteTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("broken pipe"),
        httpx.RemoteProtocolError("closed without an answer"),
        httpx.LocalProtocolError("?"),
        httpx.CloseError("?"),
        httpx.DecodingError("?"),
    ],
)
def test_a_connection_that_breaks_is_unclear(
    api: ReplicateApi, fake: FakeReplicate, call: Callable[[ReplicateApi], object], error: Exception
) -> None:
    fake.will(error)
    with pytest.raises(UpstreamUnclear):
        call(api)
    assert len(fake.calls) == NOT_ASKED_AGAIN


@each_call
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"id": "p1"}', b'{"status": "starting"}', b'{"id": "", "status": ""}',
     b'{"id": 5, "status": "starting"}', b'{"id": "p1", "status": null}', b"\xff\xfe", b'{"id": "p1", "status": "sta',
     b"[" * 100_000],
)  # fmt: skip
def test_success_without_a_prediction_is_unclear(
    api: ReplicateApi, fake: FakeReplicate, call: Callable[[ReplicateApi], object], body: bytes
) -> None:
    fake.will(Answer(201, body, {"content-type": "application/json"}))
    with pytest.raises(UpstreamUnclear):
        call(api)
    assert len(fake.calls) == NOT_ASKED_AGAIN


def test_an_endless_answer_is_unclear(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(Answer(201, b" " * (MOST_BYTES + 1)))
    with pytest.raises(UpstreamUnclear):
        create(api)


# What the package cannot read


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "aborted"},
        {"status": "paused"},
        {"error": {"code": 1, "message": "E1001"}},
        {"error": ["a"]},
        {"version": None},
        {"logs": None},
        {"metrics": None},
        {"metrics": "none"},
        {"output": {"deep": [1, {"er": None}]}},
        {"urls": None},
        {"created_at": 12},
        {"input": None},
        {"of_the_future": {"a": 1}},
    ],
)
def test_a_prediction_is_read_in_spite_of_odd_fields(
    api: ReplicateApi, fake: FakeReplicate, changes: dict[str, Any]
) -> None:
    document = prediction("p1", **{"status": "succeeded", **changes})
    fake.will(answer(200, document), answer(201, document))
    assert api.get("p1") == document
    created = create(api)
    assert (created.id, created.status) == ("p1", document["status"])


@pytest.mark.parametrize("missing", ["version", "urls", "input", "logs", "error", "metrics", "created_at", "model"])
def test_a_prediction_is_read_in_spite_of_missing_fields(api: ReplicateApi, fake: FakeReplicate, missing: str) -> None:
    document = prediction("p1", "starting")
    del document[missing]
    fake.will(answer(201, document))
    assert create(api).id == "p1"


def test_an_answer_is_never_taken_for_that_of_an_earlier_call(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(answer(201, prediction("p1")), Answer(201, b"<html>"))
    create(api)
    with pytest.raises(UpstreamUnclear):
        create(api)


# The token


@pytest.mark.parametrize("base", [BASE, "http://127.0.0.1:9999", "https://proxy.example:8443"])
def test_every_request_goes_to_the_configured_origin(fake: FakeReplicate, base: str) -> None:
    api = ReplicateApi(token=TOKEN, base_url=base, transport=fake)
    for call in CALLS.values():
        call(api)
    assert {call.headers["host"] for call in fake.calls} == {base.partition("://")[2]}
    assert len(fake.calls) == len(CALLS)


@pytest.mark.parametrize(
    "prediction_id", ["//evil.example/x", "https://evil.example/x", "../../x", "a/b", "@evil.example"]
)
def test_no_id_leads_a_request_elsewhere(api: ReplicateApi, fake: FakeReplicate, prediction_id: str) -> None:
    for call in (api.get, api.cancel):
        try:
            call(prediction_id)
        except AfterimageError:
            continue
    assert {call.headers["host"] for call in fake.calls} <= {"api.replicate.com"}


# Lists


def listed(*pages: list[str], next_of_last: str | None = None) -> list[Answer]:
    answers = []
    for number, ids in enumerate(pages, start=1):
        following = f"{BASE}/v1/predictions?cursor=c{number}" if number < len(pages) else next_of_last
        results = [prediction(one) for one in ids]
        answers.append(answer(200, {"previous": None, "next": following, "results": results}))
    return answers


def test_a_list_is_read_to_its_end(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(*listed(["a", "b"], ["c"], []))
    pages = list(api.pages(since="2026-11-01T12:00:00Z"))
    assert [[one["id"] for one in page] for page in pages] == [["a", "b"], ["c"], []]
    assert [call.path for call in fake.calls] == [
        "/v1/predictions?created_after=2026-11-01T12%3A00%3A00Z",
        "/v1/predictions?cursor=c1",
        "/v1/predictions?cursor=c2",
    ]


def test_trainings_are_listed_until_they_are_old_enough(api: ReplicateApi, fake: FakeReplicate) -> None:
    def page(*times: str, following: bool = True) -> Answer:
        results = [training(at, created_at=f"2026-11-01T{at}:00Z") for at in times]
        url = f"{BASE}/v1/trainings?cursor={times[-1]}" if following else None
        return answer(200, {"previous": None, "next": url, "results": results})

    fake.will(page("13:00", "12:30"), page("12:00", "11:59"), page("11:00"))
    pages = list(api.pages(since="2026-11-01T12:00:00Z", kind=Kind.TRAINING))
    assert [[one["id"] for one in found] for found in pages] == [["13:00", "12:30"], ["12:00", "11:59"]]
    assert [call.path for call in fake.calls] == ["/v1/trainings", "/v1/trainings?cursor=12:30"]


@pytest.mark.parametrize("odd", [None, "soon", 5, {}])
def test_a_training_of_no_time_does_not_end_the_list(api: ReplicateApi, fake: FakeReplicate, odd: Any) -> None:
    url = f"{BASE}/v1/trainings?cursor=c"
    fake.will(
        answer(200, {"next": url, "results": [training("a", created_at=odd)]}),
        answer(200, {"next": None, "results": []}),
    )
    assert len(list(api.pages(since="2026-11-01T12:00:00Z", kind=Kind.TRAINING))) == 2


def test_a_list_that_leads_to_another_host_is_not_followed(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(*listed(["a"], next_of_last="https://evil.example/v1/predictions?cursor=x"))
    with pytest.raises(AfterimageError):
        list(api.pages(since="2026-11-01T12:00:00Z"))
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    "second", [answer(500, {}), answer(429, {}), Answer(200, b"["), answer(200, {"results": None})]
)
def test_a_list_that_breaks_off_is_an_error_and_no_end(api: ReplicateApi, fake: FakeReplicate, second: Answer) -> None:
    fake.will(listed(["a"], ["b"])[0], second)
    with pytest.raises(AfterimageError):
        list(api.pages(since="2026-11-01T12:00:00Z"))


def test_the_account_and_its_webhook_secret_are_read(api: ReplicateApi, fake: FakeReplicate) -> None:
    fake.will(answer(200, {"type": "user", "username": "acme", "name": "A"}), answer(200, {"key": "whsec_x"}))
    assert api.account()["username"] == "acme"
    assert api.webhook_secret() == "whsec_x"
    assert [(call.method, call.path) for call in fake.calls] == [
        ("GET", "/v1/account"),
        ("GET", "/v1/webhooks/default/secret"),
    ]


def test_a_token_that_replicate_does_not_know_is_told_apart(api: ReplicateApi, fake: FakeReplicate) -> None:
    for read in (api.account, api.webhook_secret):
        fake.will(answer(401, {"detail": "Unauthenticated", "status": 401}))
        with pytest.raises(UpstreamNotTaken) as refused:
            read()
        assert refused.value.cause is Cause.CREDENTIALS
