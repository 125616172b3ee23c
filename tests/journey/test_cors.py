"""Pages of other origins: those that are named may use the interfaces and the bucket from a browser, no others."""

import httpx
import pytest

from tests.journey.local import NO_TLS, Local, Tenant

pytestmark = pytest.mark.sockets

NAMED, OTHER = "http://localhost:3000", "https://evil.example"
ALLOWED = "access-control-allow-origin"


def preflight(url: str, origin: str, method: str, *headers: str) -> httpx.Response:
    """Ask as a browser does before it sends what a page wants."""
    asked = {"origin": origin, "access-control-request-method": method}
    if headers:
        asked["access-control-request-headers"] = ",".join(headers)
    return httpx.options(url, headers=asked, timeout=60, trust_env=False, verify=NO_TLS)


def listed(answer: httpx.Response, name: str) -> set[str]:
    return {one.strip().lower() for one in answer.headers.get(f"access-control-{name}", "").split(",")}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/generate"),
        ("POST", "/v1/predictions"),
        ("GET", "/predictions/x"),
        ("DELETE", "/v1/predictions/x"),
        ("GET", "/nowhere"),
    ],
)
def test_a_browser_is_told_what_a_named_page_may_send(local: Local, method: str, path: str) -> None:
    url = local.stack.api_url + path
    answer = preflight(url, NAMED, method, "authorization", "content-type", "idempotency-key", "prefer")
    assert answer.status_code in {200, 204}
    assert answer.headers[ALLOWED] == NAMED
    assert method.lower() in listed(answer, "allow-methods")
    assert {"authorization", "content-type", "idempotency-key", "prefer"} <= listed(answer, "allow-headers")
    assert "access-control-allow-credentials" not in answer.headers
    assert ALLOWED not in preflight(url, OTHER, method).headers


def test_a_named_page_can_read_answers_and_refusals_with_their_headers(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate()])
    for path, status in ((f"/predictions/{job.id}", 200), ("/predictions/nothing", 404)):
        for origin in (NAMED, OTHER):
            answer = tenant.http.get(path, headers={"origin": origin})
            assert answer.status_code == status
            assert answer.headers.get(ALLOWED) == (NAMED if origin == NAMED else None)
    answer = tenant.http.get(f"/predictions/{job.id}", headers={"origin": NAMED, "authorization": ""})
    assert (answer.status_code, answer.headers[ALLOWED]) == (401, NAMED)
    assert {"location", "retry-after-ms", "etag", "x-request-id"} <= listed(answer, "expose-headers")


def test_a_named_page_can_upload_by_the_form_and_download_what_is_signed(tenant: Tenant) -> None:
    content = b"PK\x03\x04" + bytes(5_000_000)
    form = tenant.http.post("/uploads", json={"filename": "x.zip"}).raise_for_status().json()
    for origin in (OTHER, NAMED):
        sent = httpx.post(
            form["url"], data=form["fields"], files={"file": content}, headers={"origin": origin},
            timeout=60, trust_env=False, verify=NO_TLS,
        )  # fmt: skip
        assert sent.status_code in {200, 201, 204}, sent.text
        assert sent.headers.get(ALLOWED) == (NAMED if origin == NAMED else None)
    led = tenant.http.get(f"/v1/files/{form['file']['id']}/download", headers={"origin": NAMED})
    assert led.status_code == 302
    # A browser that follows from one origin to another says that it comes from nowhere.
    for origin in ("null", NAMED, OTHER):
        got = httpx.get(led.headers["location"], headers={"origin": origin}, timeout=60, trust_env=False, verify=NO_TLS)
        assert got.content == content
        assert got.headers.get(ALLOWED) == (None if origin == OTHER else origin)
    assert preflight(form["url"], OTHER, "PUT").status_code == 403
    assert ALLOWED not in preflight(form["url"], NAMED, "DELETE").headers
