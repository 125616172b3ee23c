"""Addresses that callers give: what may be called, by the form of the URL and by the IP address behind it."""

import pytest

from shared.addresses import LONGEST_URL, Places, check_url, check_webhook_url, is_public, parse_places
from shared.errors import AddressRefused, Code, InvalidField, Refusal

ANYWHERE = parse_places("*")
HERE_TOO = parse_places("*,http://127.0.0.1:*")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/",
        "https://EXAMPLE.com/hook",
        "https://example.com:443/hook",
        "https://example.com:8443/hook?a=b&c=%20#d",
        "https://example.com:1024/",
        "https://example.com:65535/",
        "https://a-b.c1.example.co.uk/x",
        "https://xn--bcher-kva.example/x",
        "https://0x7f.example.com/x",
        "https://example.com/" + "x" * (LONGEST_URL - len("https://example.com/")),
    ],
)
def test_any_public_name_may_be_called_over_https(url: str) -> None:
    assert check_url(url, ANYWHERE).hostname
    check_webhook_url(url, ANYWHERE)


HOSTILE = [
    "",
    " ",
    "me",
    "//example.com/x",
    "/x",
    "http://example.com/x",
    "HTTP://example.com/x",
    "ftp://example.com/x",
    "file:///etc/passwd",
    "gopher://example.com/x",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https:example.com",
    "https:///x",
    "https://",
    "https://localhost/x",
    "https://localhost:8443/x",
    "https://intranet/x",
    "https://example.com./x",
    "https://.example.com/x",
    "https://a..example.com/x",
    "https://-.example.com/x",
    "https://a_b.example.com/x",
    "https://*/x",
    "https://*.example.com/x",
    "https://user@example.com/x",
    "https://user:password@example.com/x",
    "https://:@example.com/x",
    "https://example.com@127.0.0.1/x",
    "https://example.com:0/x",
    "https://example.com:22/x",
    "https://example.com:25/x",
    "https://example.com:80/x",
    "https://example.com:1023/x",
    "https://example.com:65536/x",
    "https://example.com:-1/x",
    "https://example.com:x/x",
    "https://127.0.0.1/x",
    "https://127.0.0.1:8443/x",
    "https://10.0.0.1/x",
    "https://169.254.169.254/latest/meta-data/",
    "https://8.8.8.8/x",
    "https://127.1/x",
    "https://2130706433/x",
    "https://0x7f000001/x",
    "https://0x7f.1/x",
    "https://127.0.0.0x1/x",
    "https://0177.0.0.1/x",
    "https://1.2.3.4.5/x",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://[fd00:ec2::254]/x",
    "https://[2606:4700::1111]/x",
    "https://[::1",
    "https://example.com\\@evil.example/x",
    "https:\\\\example.com\\x",
    "https://example.com%2eevil.example/x",
    "https://example.com%00/x",
    "https://example.com/a b",
    "https://example.com/\r\nHost: evil.example",
    "https://example.com/\tx",
    "https://exämple.com/x",
    "https://example\u3002com/x",
    "https://example.com/ä",
    "https://example.com/" + "x" * LONGEST_URL,
]


@pytest.mark.parametrize("url", HOSTILE)
def test_what_cannot_be_called_is_refused_by_its_form(url: str) -> None:
    for places in (ANYWHERE, HERE_TOO if "127.0.0.1" not in url else ANYWHERE):
        with pytest.raises(AddressRefused):
            check_url(url, places)
    with pytest.raises(Refusal) as caught:
        check_webhook_url(url, ANYWHERE, field="webhook_completed")
    refusal = caught.value
    assert refusal.code is Code.INVALID_INPUT
    (invalid,) = refusal.invalid_fields
    assert invalid == InvalidField("webhook_completed", invalid.description)
    assert refusal.detail == f"- webhook_completed: {invalid.description}"
    assert not url.strip() or url not in refusal.detail


@pytest.mark.parametrize(
    ("url", "places", "passes"),
    [
        ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000", True),
        ("http://127.0.0.1:9001/x", "http://127.0.0.1:9000", False),
        ("http://127.0.0.1:9001/x", "http://127.0.0.1:*", True),
        ("http://127.0.0.1/x", "http://127.0.0.1:*", True),
        ("HTTP://127.0.0.1:9001/x", "http://127.0.0.1:*", True),
        ("https://127.0.0.1:9001/x", "http://127.0.0.1:*", False),
        ("http://127.0.0.2:9001/x", "http://127.0.0.1:*", False),
        ("http://127.0.0.1.example.com/x", "http://127.0.0.1:*", False),
        ("http://user@127.0.0.1:9001/x", "http://127.0.0.1:*", False),
        ("http://localhost:9001/x", "http://127.0.0.1:*", False),
        ("https://hooks.example.com/x", "example.com", True),
        ("https://hooks.example.com:8443/x", "example.com", False),
        ("https://hooks.example.com:8443/x", "example.com,*", True),
        ("https://other.example/x", "example.com", False),
        ("https://example.com/x", "", False),
    ],
)
def test_the_setting_says_which_places_there_are(url: str, places: str, *, passes: bool) -> None:
    rules: Places = parse_places(places)
    if passes:
        assert check_url(url, rules)
    else:
        with pytest.raises(AddressRefused):
            check_url(url, rules)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.0.0.1", False),
        ("192.0.2.1", False),
        ("192.168.0.1", False),
        ("198.18.0.1", False),
        ("198.51.100.1", False),
        ("203.0.113.1", False),
        ("224.0.0.1", False),
        ("239.255.255.255", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("100::1", False),
        ("2001:db8::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2002:a9fe:a9fe::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_only_what_is_routed_on_the_internet_is_public(address: str, *, public: bool) -> None:
    assert is_public(address) is public
