"""Tenants and their API keys, as the operator sees them: listed, limited, closed and removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.accounts import CLOSED_AT, KEY, REVOKED_AT, account_pk, key_pk, limits_of
from shared.dynamo import ConditionFailed, Expression, plain
from shared.errors import AfterimageError
from shared.job import Millis, TenantId
from shared.ledger import committed, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.accounts import Accounts, Limits
    from shared.dynamo import Dynamo, Item

OWN_LIMITS = ("rate_per_minute", "max_in_flight", "daily_budget")
VALID_UNTIL = "valid_until"
SHOWN = 12  # hexadecimal digits of a key's hash, by which it is called
_ID = re.compile(r"[0-9a-f]{8,64}")


class Unknown(AfterimageError):
    """There is no such tenant, or no such key; the message says which."""


@dataclass(frozen=True)
class Tenant:
    """A tenant's account. `limits` are those that hold, `own_limits` those that are its own; money in micro-USD."""

    name: TenantId
    limits: Limits
    own_limits: Mapping[str, int]
    in_flight: int
    committed: int  # reserved or spent today
    created_at: Millis | None
    closed_at: Millis | None


class KeyState(StrEnum):
    """Whether a key lets its tenant in."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Key:
    """What is known of an API key; the key itself is not."""

    pk: str
    tenant: TenantId
    created_at: Millis | None
    valid_until: Millis | None
    revoked_at: Millis | None

    @property
    def id(self) -> str:
        """What the operator calls it by: the beginning of its hash."""
        return self.pk.removeprefix("key#")[:SHOWN]

    def state(self, now: Millis) -> KeyState:
        """Say whether it is valid."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        return KeyState.EXPIRED if self.valid_until is not None and self.valid_until <= now else KeyState.VALID


class Tenants:
    """Administers the table of accounts."""

    def __init__(self, dynamo: Dynamo, table: str, *, defaults: Limits, now: Callable[[], Millis]) -> None:
        """`defaults` are the limits of a tenant without limits of its own."""
        self._dynamo = dynamo
        self._table = table
        self._defaults = defaults
        self._now = now

    def all(self) -> list[Tenant]:
        """Give all tenants, by name."""
        accounts = Expression()
        accounts.when(accounts.begins_with("pk", account_pk("")))
        found = [self._tenant(item) for item in self._dynamo.scan(self._table, accounts)]
        return sorted(found, key=lambda tenant: tenant.name)

    def get(self, name: str) -> Tenant:
        """Give one tenant.

        Raises:
            Unknown: there is none of this name.
        """
        item = self._dynamo.get(self._table, account_pk(name))
        if item is None:
            raise Unknown(f"there is no tenant {name!r}")
        return self._tenant(item)

    def limit(self, name: str, limits: Mapping[str, int | None]) -> Tenant:
        """Give a tenant limits of its own, named like the fields of `Limits`; None: what holds for everybody.

        Functions heed it within a minute.

        Raises:
            Unknown: there is no such tenant.
        """
        change = Expression()
        for limit, value in limits.items():
            if value is None:
                change.remove(limit)
            else:
                change.set(limit, value)
        return self._tenant(self._update(account_pk(name), change, what=f"tenant {name!r}"))

    def close(self, name: str) -> Millis:
        """Have nothing of a tenant's admitted any more and its keys revoked, and say since when that is so.

        Processes that have read a key a moment ago let it read for a minute.

        Raises:
            Unknown: there is no such tenant.
        """
        closing = Expression()
        closing.set(CLOSED_AT, self._now())
        closing.when(closing.is_present("pk"))
        closing.when(closing.is_absent(CLOSED_AT))
        try:
            item = self._dynamo.update(self._table, account_pk(name), closing)
        except ConditionFailed as failed:
            if not failed.item:
                raise Unknown(f"there is no tenant {name!r}") from failed
            item = failed.item
        for key in self.keys(name):
            self.revoke(key)
        return Millis(int(plain(item[CLOSED_AT])))

    def forget(self, name: str) -> None:
        """Remove a closed tenant's keys and then its account; what it spent stays in the books."""
        for key in self.keys(name):
            self._dynamo.delete(self._table, key.pk)
        self._dynamo.delete(self._table, account_pk(name))

    # ---- keys

    def keys(self, tenant: str | None = None) -> Sequence[Key]:
        """Give the keys of a tenant, or of all, oldest first."""
        wanted = Expression()
        wanted.when(wanted.begins_with("pk", "key#"))
        if tenant is not None:
            wanted.when(wanted.compare("tenant", "=", tenant))
        found = [_key(item) for item in self._dynamo.scan(self._table, wanted)]
        return sorted(found, key=lambda key: (key.tenant, key.created_at or 0, key.pk))

    def find_key(self, given: str) -> Key:
        """Find a key by its id, or by itself: whoever comes upon one that has leaked has nothing else.

        Raises:
            Unknown: there is none, or several begin so.
        """
        if KEY.fullmatch(given):
            item = self._dynamo.get(self._table, key_pk(given))
            found = [] if item is None else [item]
        elif _ID.fullmatch(given):
            wanted = Expression()
            wanted.when(wanted.begins_with("pk", f"key#{given}"))
            found = list(self._dynamo.scan(self._table, wanted))
        else:
            raise Unknown("a key is named by its id, at least 8 hexadecimal digits, or by itself")
        if len(found) != 1:
            raise Unknown("there are several keys whose ids begin so" if found else "there is no such key")
        return _key(found[0])

    def revoke(self, key: Key) -> Key:
        """Let a key in no more, within a minute; one that is revoked already stays as it is."""
        if key.revoked_at is not None:
            return key
        change = Expression()
        change.set(REVOKED_AT, self._now())
        return _key(self._update(key.pk, change, what="key"))

    def expire(self, key: Key, at: Millis | None) -> Key:
        """Let a key in until a time, or for good (None)."""
        change = Expression()
        if at is None:
            change.remove(VALID_UNTIL)
        else:
            change.set(VALID_UNTIL, at)
        return _key(self._update(key.pk, change, what="key"))

    def rotate(self, key: Key, accounts: Accounts, *, overlap_s: float) -> str:
        """Make a key that replaces another, which lets in for so many seconds more, or less if its end was near."""
        new = accounts.create_key(key.tenant)
        end = Millis(self._now() + round(overlap_s * 1000))
        if key.valid_until is None or end < key.valid_until:
            self.expire(key, end)
        return new

    def _update(self, pk: str, change: Expression, *, what: str) -> Item:
        change.when(change.is_present("pk"))
        try:
            return self._dynamo.update(self._table, pk, change)
        except ConditionFailed as failed:
            raise Unknown(f"there is no such {what}" if what == "key" else f"there is no {what}") from failed

    def _tenant(self, item: Item) -> Tenant:
        today = committed(day_of(self._now()))
        return Tenant(
            name=TenantId(str(plain(item["pk"])).removeprefix(account_pk(""))),
            limits=limits_of(item, self._defaults),
            own_limits={name: int(plain(item[name])) for name in OWN_LIMITS if name in item},
            in_flight=int(plain(item["inflight"])),
            committed=int(plain(item[today])) if today in item else 0,
            created_at=_time(item, "created_at"),
            closed_at=_time(item, CLOSED_AT),
        )


def _key(item: Item) -> Key:
    return Key(
        pk=str(plain(item["pk"])),
        tenant=TenantId(str(plain(item["tenant"]))),
        created_at=_time(item, "created_at"),
        valid_until=_time(item, VALID_UNTIL),
        revoked_at=_time(item, REVOKED_AT),
    )


def _time(item: Item, name: str) -> Millis | None:
    return Millis(int(plain(item[name]))) if name in item else None
