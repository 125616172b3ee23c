"""Addresses that strangers give: which URLs may be called at all, and which IP addresses lead to the public Internet.

Nothing is resolved and nothing is called here; `shared.outgoing` does that, under these rules.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from shared.errors import AddressRefused, Code, InvalidField, Refusal

LONGEST_URL = 8_192
LONGEST_HOST = 253  # as DNS has it; Python raises on what is longer, or has a longer label
HTTPS_PORT = 443
FIRST_OWN_PORT = 1_024  # below are the services that every machine may have: mail, SSH, DNS
ANY_HOST = "*"
_IPV6 = ipaddress.ip_network("2000::/3")
# Set aside since: the way to 6to4's relays, and addresses for documents only. Not every Python knows it.
_SET_ASIDE = (ipaddress.ip_network("192.88.99.0/24"), ipaddress.ip_network("3fff::/20"))
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True)
class Places:
    """Where strangers may send us.

    `hosts` are names that are allowed with all names below them: over HTTPS, on port 443, at public addresses. `*`
    among them allows every name, also on the ports from 1024 up. `origins` are allowed to the letter, such as
    `http://127.0.0.1:9000`, whatever their address; `http://127.0.0.1:*` means any port.
    """

    hosts: frozenset[str]
    origins: frozenset[str]


def parse_places(text: str) -> Places:
    """Read a comma-separated setting, such as `OutputHosts`."""
    entries = {entry.strip().lower() for entry in text.split(",") if entry.strip()}
    origins = frozenset(entry.rstrip("/") for entry in entries if "://" in entry)
    return Places(frozenset(entry.removeprefix("*.") for entry in entries if "://" not in entry), origins)


def check_url(url: str, places: Places) -> SplitResult:
    """Give the parts of a URL that the rules allow, as far as that can be told without resolving its host.

    Raises:
        AddressRefused: they do not allow it.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        raise AddressRefused("is malformed")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressRefused("is malformed") from error
    if "@" in parts.netloc:
        raise AddressRefused("holds credentials")
    if is_named(parts, places):
        return parts
    if parts.scheme != "https":
        raise AddressRefused("is not served over HTTPS")
    is_any = ANY_HOST in places.hosts and _is_public_name(host)
    if not _HOST.fullmatch(host) or len(host) > LONGEST_HOST or not (is_any or is_below(host, places)):
        raise AddressRefused("names a host that is not allowed")
    if port not in {None, HTTPS_PORT} and not (is_any and port is not None and port >= FIRST_OWN_PORT):
        raise AddressRefused("names a port that is not allowed")
    return parts


def is_below(host: str, places: Places) -> bool:
    """Say whether a host is one of the names, or below one."""
    return any(host == one or host.endswith(f".{one}") for one in places.hosts)


def is_named(parts: SplitResult, places: Places) -> bool:
    """Say whether this very origin is allowed, whatever its address."""
    origin, any_port = f"{parts.scheme}://{parts.netloc}".lower(), f"{parts.scheme}://{parts.hostname}:*"
    return origin in places.origins or any_port in places.origins


def is_public(address: str) -> bool:
    """Say whether an IP address leads to the public Internet: not to this machine, its network, or AWS's inside."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip not in _IPV6 or ip.sixtofour is not None or ip.teredo is not None:
            # Only what is routed as IPv6 itself: translated and tunnelled forms lead to any IPv4 address.
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SET_ASIDE)


def check_webhook_url(url: str, places: Places, *, field: str = "webhook") -> None:
    """Require that a caller's webhook could be called; its host is resolved, and checked again, at every call.

    Raises:
        Refusal: `invalid_input`, for this field.
    """
    try:
        check_url(url, places)
    except AddressRefused as refused:
        description = f"This URL {refused}; a webhook is called over HTTPS, at a public host."
        raise Refusal(Code.INVALID_INPUT, f"- {field}: {description}", (InvalidField(field, description),)) from refused


def _is_public_name(host: str) -> bool:
    """Say whether a host is a name of the public kind: neither a lone word nor an IP address in any of its forms."""
    first, dot, last = host.rpartition(".")
    return bool(first and dot) and not _NUMBER.fullmatch(last)
