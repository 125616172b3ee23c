"""What is signed: malformed is refused like forged, and our signatures are those of the Standard Webhooks library."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from shared.signatures import (
    TOLERANCE_S,
    BadSignature,
    decode_secret,
    sign_callback,
    sign_link,
    sign_webhook,
    verify_webhook,
)
from tests.support.world import WEBHOOK_SECRET

NOW = 1_793_534_400
BODY = b'{"id": "p1", "status": "succeeded", "logs": "\xc3\xa9"}'
KEY = decode_secret(WEBHOOK_SECRET)
OTHER_KEY = b"another key"
GOOD = sign_webhook(KEY, webhook_id="msg_1", timestamp=NOW, body=BODY)
DIGEST = GOOD.removeprefix("v1,")


def headers(**changes: str | None) -> dict[str, str]:
    given: dict[str, str | None] = {"id": "msg_1", "timestamp": str(NOW), "signature": GOOD, **changes}
    return {f"webhook-{name}": value for name, value in given.items() if value is not None}


def is_good(
    given: Mapping[str, str], body: bytes = BODY, *, now: float = NOW, keys: tuple[bytes, ...] = (KEY,)
) -> bool:
    """Say whether it passes; anything but a pass or the one exception fails the test."""
    try:
        verify_webhook(keys, given, body, now=now)
    except BadSignature:
        return False
    return True


def test_what_was_signed_passes() -> None:
    assert is_good(headers())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"id": None}, id="no id"),
        pytest.param({"id": ""}, id="empty id"),
        pytest.param({"id": "msg_2"}, id="another id"),
        pytest.param({"id": "msg_é"}, id="id is not ASCII"),
        pytest.param({"id": "msg_\udcff"}, id="id is not text"),
        pytest.param({"timestamp": None}, id="no timestamp"),
        pytest.param({"timestamp": ""}, id="empty timestamp"),
        pytest.param({"timestamp": "now"}, id="timestamp in words"),
        pytest.param({"timestamp": "١٧٩٣٥٣٤٤٠٠"}, id="timestamp in other digits"),
        pytest.param({"timestamp": f"{NOW}.0"}, id="timestamp with a fraction"),
        pytest.param({"timestamp": f" {NOW}"}, id="timestamp with a space"),
        pytest.param({"timestamp": f"{NOW}\n"}, id="timestamp with a line break"),
        pytest.param({"timestamp": f"+{NOW}"}, id="timestamp with a sign"),
        pytest.param({"timestamp": f"-{NOW}"}, id="negative timestamp"),
        pytest.param({"timestamp": f"{NOW}e0"}, id="timestamp with an exponent"),
        pytest.param({"timestamp": "NaN"}, id="timestamp is no number"),
        pytest.param({"timestamp": "inf"}, id="timestamp is endless"),
        pytest.param({"timestamp": "9" * 5_000}, id="huge timestamp"),
        pytest.param({"timestamp": str(NOW + 1)}, id="another timestamp"),
        pytest.param({"timestamp": "0"}, id="1970"),
        pytest.param({"signature": None}, id="no signature"),
        pytest.param({"signature": ""}, id="empty signature"),
        pytest.param({"signature": "   "}, id="blank signature"),
        pytest.param({"signature": "v1,"}, id="nothing after the version"),
        pytest.param({"signature": DIGEST}, id="no version"),
        pytest.param({"signature": f"v9,{DIGEST}"}, id="another version"),
        pytest.param({"signature": f"v1a,{DIGEST}"}, id="asymmetric version"),
        pytest.param({"signature": f"V1,{DIGEST}"}, id="version in capitals"),
        pytest.param({"signature": f"v1:{DIGEST}"}, id="colon for comma"),
        pytest.param({"signature": f"v1,{DIGEST}x"}, id="longer"),
        pytest.param({"signature": f"v1,{DIGEST[:-1]}"}, id="shorter"),
        pytest.param({"signature": "v1,!!! not base64"}, id="not base64"),
        pytest.param({"signature": f"v1,é{DIGEST}"}, id="not ASCII"),
        pytest.param({"signature": "v1,\udcff"}, id="not text"),
        pytest.param({"signature": GOOD.swapcase()}, id="other letters"),
        pytest.param({"signature": "v1,A " * 16 + GOOD}, id="the good one behind too many"),
    ],
)
def test_a_malformed_or_forged_header_is_refused(changes: dict[str, str | None]) -> None:
    assert not is_good(headers(**changes))


def test_without_headers_it_is_refused() -> None:
    assert not is_good({})


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], BODY.replace(b"succeeded", b"failed")])
def test_another_body_is_refused(body: bytes) -> None:
    assert not is_good(headers(), body)


@pytest.mark.parametrize(
    ("later", "passes"),
    [
        (TOLERANCE_S, True),
        (TOLERANCE_S + 0.5, False),
        (-TOLERANCE_S, True),
        (-TOLERANCE_S - 0.5, False),
        (86_400, False),
        (-86_400, False),
    ],
)
def test_a_webhook_is_good_for_five_minutes_in_both_directions(later: float, *, passes: bool) -> None:
    assert is_good(headers(), now=NOW + later) is passes


@pytest.mark.parametrize(
    "signature",
    [
        f"v1,!!! {GOOD}",
        f"v1,é {GOOD}",
        f"v2,{DIGEST} {GOOD}",
        f"nonsense {GOOD}",
        f"{GOOD} v1,",
        f"v1,AAAA {GOOD} v1,BBBB",
    ],
)
def test_bad_entries_beside_a_good_one_do_no_harm(signature: str) -> None:
    assert is_good(headers(signature=signature))


def test_any_active_key_may_have_signed() -> None:
    for key in (KEY, OTHER_KEY):
        signature = sign_webhook(key, webhook_id="msg_1", timestamp=NOW, body=BODY)
        assert is_good(headers(signature=signature), keys=(OTHER_KEY, KEY))
    assert not is_good(headers(), keys=(OTHER_KEY,))


def test_without_keys_nothing_passes() -> None:
    assert not is_good(headers(), keys=())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "whsec_abc", "whsec_ä", "   ", "whsec_a b c d"])
def test_a_secret_that_is_none_is_an_error_and_verifies_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match=r"webhook secret|ASCII"):
        decode_secret(secret)


def test_a_secret_may_end_in_a_line_break() -> None:
    assert decode_secret(f"{WEBHOOK_SECRET}\n") == KEY


_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(key=st.binary(min_size=1, max_size=80), webhook_id=_ids, body=st.text(max_size=200))
def test_the_library_accepts_what_we_sign_and_we_what_it_signs(key: bytes, webhook_id: str, body: str) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    timestamp = int(at.timestamp())
    library = Webhook(base64.b64encode(key).decode())
    encoded = body.encode(errors="replace")
    ours = sign_webhook(key, webhook_id=webhook_id, timestamp=timestamp, body=encoded)
    theirs = library.sign(webhook_id, at, encoded.decode())
    assert ours == theirs
    sent = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp), "webhook-signature": theirs}
    assert is_good(sent, encoded, now=timestamp, keys=(key,))


@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(max_size=8),
            "timestamp": st.text(max_size=12) | st.integers(NOW - 400, NOW + 400).map(str),
            "signature": st.text(max_size=60),
        },
    )
)
def test_no_other_header_passes_or_raises_anything_else(changes: dict[str, str]) -> None:
    given_headers = headers(**changes)
    assert is_good(given_headers) is (given_headers == headers())


# The URLs that Replicate calls, and links to files


def test_a_callback_is_signed_for_one_job_and_one_attempt() -> None:
    signatures = {
        sign_callback(key, job, attempt)
        for key in ("key", "other")
        for job in ("job1", "job11", "job")
        for attempt in (1, 11, 2)
    }
    assert len(signatures) == 18
    assert sign_callback("key", "job1", 1) == sign_callback("key", "job1", 1)


def test_a_link_is_signed_for_one_file_of_one_job_until_one_time() -> None:
    signatures = {
        sign_link(key, job, name, expires)
        for key in ("key", "other")
        for job in ("job", "other")
        for name in ("0.webp", "1.webp")
        for expires in (NOW, NOW + 1)
    }
    assert len(signatures) == 16


def test_a_callback_is_no_link_even_under_the_same_key() -> None:
    assert sign_callback("key", "job", 1) != sign_link("key", "job", "1", 1)


def test_signatures_are_safe_in_urls() -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    for number in range(50):
        assert set(sign_callback("key", "job", number)) <= allowed
        assert len(sign_callback("key", "job", number)) >= 22


def test_an_empty_key_signs_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        sign_callback("", "job", 1)
    with pytest.raises(ValueError, match="empty"):
        sign_link("", "job", "0.webp", NOW)
