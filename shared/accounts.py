"""Tenants: their API keys, and the limits that hold for them."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.dynamo import ConditionFailed, Expression, plain
from shared.errors import Contended
from shared.job import Millis, TenantId
from shared.signatures import SECRET_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.dynamo import Dynamo, Item

KEY_PREFIX = "aft"
KEPT_MS = 60_000  # how long a process believes what it read of a key; a revoked one works no longer than this
KEPT_KEYS = 1_000
REVOKED_AT = "revoked_at"  # of a key
COMMITTED = "committed_"  # with a UTC day: the attribute that holds its reserved and spent money
CLOSED_AT = "closed_at"  # of an account: nothing is admitted any more, and no key of its tenant's is valid
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
KEY = re.compile(rf"{KEY_PREFIX}_({_TENANT.pattern})_([A-Za-z0-9]{{32}})")
_CHARACTERS = string.ascii_letters + string.digits
_LENGTH = 32  # of 62 characters each: 190 bits
_SECRET_BYTES = 32
_RACES = 5


@dataclass(frozen=True)
class Limits:
    """What a tenant may use: requests a minute, unfinished jobs, and micro-USD a UTC day."""

    rate_per_minute: int
    max_in_flight: int
    daily_budget: int


@dataclass(frozen=True)
class Account:
    """The tenant that a request comes from."""

    tenant: TenantId
    limits: Limits
    # UTC day → micro-USD reserved or spent: as last read, and what this process has added since.
    committed: dict[str, int] = field(default_factory=dict)


def account_pk(tenant: str) -> str:
    """Give the primary key of a tenant's account."""
    return f"account#{tenant}"


def key_pk(key: str) -> str:
    """Give the primary key of an API key, which is kept only as a hash."""
    return f"key#{hashlib.sha256(key.encode()).hexdigest()}"


def new_api_key(tenant: str) -> str:
    """Make an API key; it names its tenant, so that the key and the account are one read."""
    secret = "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))
    return f"{KEY_PREFIX}_{tenant}_{secret}"


def new_webhook_secret() -> str:
    """Make a secret that a tenant's webhooks are signed with."""
    return f"{SECRET_PREFIX}{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


class Accounts:
    """Knows who a key belongs to, and makes tenants and keys."""

    def __init__(self, dynamo: Dynamo, table: str, *, defaults: Limits, now: Callable[[], Millis]) -> None:
        """Work on one table; `defaults` hold for a tenant without limits of its own."""
        self._dynamo = dynamo
        self._table = table
        self._defaults = defaults
        self._now = now
        self._known: dict[str, tuple[Account, Millis]] = {}

    def authenticate(self, key: str) -> Account | None:
        """Give the account of a valid key, or None; what was read is believed for a minute."""
        if not (parts := KEY.fullmatch(key)):
            return None
        pk, now = key_pk(key), self._now()
        if (known := self._known.get(pk)) and now < known[1]:
            return known[0]
        owner_pk = account_pk(parts[1])
        items = self._dynamo.get_many(self._table, [pk, owner_pk])
        key_item, owner = items.get(pk), items.get(owner_pk)
        # The tenant in the key only says where to look: the stored key must name it too.
        if not key_item or not owner or plain(key_item["tenant"]) != parts[1] or _is_over(key_item, owner, now):
            self._known.pop(pk, None)
            return None
        account = Account(TenantId(parts[1]), limits_of(owner, self._defaults), committed_of(owner))
        if len(self._known) >= KEPT_KEYS:
            self._known.clear()
        self._known[pk] = (account, Millis(min(now + KEPT_MS, _number(key_item, "valid_until", now + KEPT_MS))))
        return account

    def create_tenant(self, tenant: str, limits: Mapping[str, int] | None = None) -> None:
        """Make a tenant with a fresh account; `limits` overrides any of the fields of `Limits`.

        Raises:
            ValueError: the name is not made of up to 48 lower-case letters, digits and hyphens.
            ConditionFailed: there is such a tenant.
        """
        if not _TENANT.fullmatch(tenant):
            raise ValueError(f"a tenant's name matches {_TENANT.pattern}, {tenant!r} does not")
        expression = Expression()
        expression.when(expression.is_absent("pk"))
        for name, value in {"win": 0, "n": 0, "inflight": 0, "created_at": self._now(), **(limits or {})}.items():
            expression.set(name, value)
        expression.set("webhook_secret", new_webhook_secret())
        self._dynamo.update(self._table, account_pk(tenant), expression)

    def create_key(self, tenant: str, *, expires_at: Millis | None = None) -> str:
        """Make an API key for a tenant; this is the only time that it can be seen."""
        key = new_api_key(tenant)
        expression = Expression()
        expression.set("tenant", tenant)
        expression.set("created_at", self._now())
        if expires_at is not None:
            expression.set("valid_until", expires_at)
        self._dynamo.update(self._table, key_pk(key), expression)
        return key

    def webhook_secrets(self, tenant: TenantId) -> Sequence[str]:
        """Give the secrets that sign a tenant's webhooks now: its own, and for a while the former one after it.

        A tenant that was made before there were any has none until its secret is rotated.
        """
        item = self._dynamo.get(self._table, account_pk(tenant)) or {}
        is_over = _number(item, "former_webhook_secret_until", 0) <= self._now()
        names = ("webhook_secret", *(() if is_over else ("former_webhook_secret",)))
        return [str(plain(item[name])) for name in names if name in item]

    def rotate_webhook_secret(self, tenant: str, overlap_s: float) -> str:
        """Give a tenant a new secret; the former one signs too for so many seconds, and one before that no longer.

        Raises:
            ConditionFailed: there is no such tenant.
            Contended: others kept rotating it.
        """
        new, pk = new_webhook_secret(), account_pk(tenant)
        for _ in range(_RACES):
            item = self._dynamo.get(self._table, pk)
            if item is None:
                raise ConditionFailed(None)
            expression = Expression()
            expression.set("webhook_secret", new)
            if "webhook_secret" in item:
                former = str(plain(item["webhook_secret"]))
                expression.when(expression.compare("webhook_secret", "=", former))
                expression.set("former_webhook_secret", former)
                expression.set("former_webhook_secret_until", self._now() + round(overlap_s * 1000))
            else:
                expression.when(expression.is_absent("webhook_secret"))
                expression.when(expression.is_present("pk"))
            with suppress(ConditionFailed):
                self._dynamo.update(self._table, pk, expression)
                return new
        raise Contended(pk)


def limits_of(account: Item, defaults: Limits) -> Limits:
    """Give the limits that hold for a tenant: its own, where its account has any."""
    return Limits(
        rate_per_minute=_number(account, "rate_per_minute", defaults.rate_per_minute),
        max_in_flight=_number(account, "max_in_flight", defaults.max_in_flight),
        daily_budget=_number(account, "daily_budget", defaults.daily_budget),
    )


def committed_of(account: Item) -> dict[str, int]:
    """Give the micro-USD that a tenant has reserved or spent, by UTC day (YYYYMMDD)."""
    days = {name.removeprefix(COMMITTED): value for name, value in account.items() if name.startswith(COMMITTED)}
    return {day: int(plain(value)) for day, value in days.items()}


def _is_over(key: Item, owner: Item, now: Millis) -> bool:
    return _number(key, "valid_until", now + 1) <= now or REVOKED_AT in key or CLOSED_AT in owner


def _number(item: Item, name: str, default: int) -> int:
    return int(plain(item[name])) if name in item else default
