"""API keys: nobody can guess, read, keep or overhear one, and one that is revoked is soon worth nothing."""

import itertools
import json
import re
import time
from collections import Counter
from typing import Any

import pytest

from shared.accounts import KEPT_KEYS, KEPT_MS, KEY, Accounts, account_pk, key_pk, new_api_key, new_webhook_secret
from shared.job import Millis
from shared.signatures import decode_secret, sign_webhook, verify_webhook
from tests.security.scene import BODY, PARAMETERS, ROUTES, two_tenants
from tests.security.test_tenant_isolation import PUBLIC, filled
from tests.support.conflicts import listening
from tests.support.replicate import FakeReplicate
from tests.support.submits import Caller, configured
from tests.support.world import LIMITS, SECRETS, START, Clock, World

pytestmark = pytest.mark.sockets

ENOUGH = 3_000


def fresh(world: World, clock: Clock) -> Accounts:
    """Give the accounts as a process sees them that has remembered nothing."""
    return Accounts(world.dynamo, world.accounts_table, defaults=LIMITS, now=clock)


# What a key is


def test_keys_are_random_and_long_enough() -> None:
    keys = {new_api_key("acme") for _ in range(ENOUGH)}
    assert len(keys) == ENOUGH
    secrets = [key.removeprefix("aft_acme_") for key in keys]
    assert {len(secret) for secret in secrets} == {32}
    used = Counter(character for secret in secrets for character in secret)
    assert len(used) == 62, "of 62 characters: 190 bits"
    expected = 32 * ENOUGH / 62
    assert all(0.7 * expected < count < 1.3 * expected for count in used.values()), "none is drawn more often"
    # More alike in any place than chance would have it (about 48 of 3,000) would be a pattern.
    assert max(max(Counter(column).values()) for column in zip(*secrets, strict=True)) < 120


def test_a_key_found_somewhere_says_what_it_is_and_whose() -> None:
    """So that scanners of repositories can look for it, and whoever finds one knows whom to tell."""
    key = new_api_key("acme-images")
    text = f"curl -H 'Authorization: Bearer {key}' https://images.example.com"
    found = re.findall(r"\baft_[a-z0-9][a-z0-9-]{0,47}_[A-Za-z0-9]{32}\b", text)
    assert found == [key]
    (parts,) = KEY.findall(key)
    assert parts[0] == "acme-images"


def test_webhook_secrets_are_random_and_long_enough() -> None:
    secrets = {new_webhook_secret() for _ in range(ENOUGH)}
    assert len(secrets) == ENOUGH
    assert {len(decode_secret(secret)) for secret in secrets} == {32}


def test_a_key_is_stored_as_a_hash_and_can_be_read_nowhere(world: World) -> None:
    key = world.accounts.create_key("alice")
    everything = json.dumps(world.everything())
    assert key not in everything
    assert key.rpartition("_")[2] not in everything
    assert re.fullmatch(r"key#[0-9a-f]{64}", key_pk(key))
    assert key_pk(key) in everything


# How long it works


def revoke(world: World, key: str, at: int) -> None:
    world.dynamodb.update_item(
        TableName=world.accounts_table,
        Key={"pk": {"S": key_pk(key)}},
        UpdateExpression="SET revoked_at = :at",
        ExpressionAttributeValues={":at": {"N": str(at)}},
    )


def test_a_revoked_key_works_nowhere_after_a_minute(world: World) -> None:
    """In the process that has just read it; all others refuse it sooner, and a new one at once."""
    clock = Clock()
    warm, key = fresh(world, clock), world.accounts.create_key("alice")
    assert warm.authenticate(key) is not None
    revoke(world, key, clock())
    assert fresh(world, clock).authenticate(key) is None
    clock.at += KEPT_MS
    assert KEPT_MS <= 60_000
    assert warm.authenticate(key) is None


def test_using_a_key_does_not_prolong_what_a_process_remembers(world: World) -> None:
    clock = Clock()
    warm, key = fresh(world, clock), world.accounts.create_key("alice")
    assert warm.authenticate(key) is not None
    revoke(world, key, clock())
    for _ in range(59):
        clock.go_on(1)
        assert warm.authenticate(key) is not None
    clock.go_on(1)
    assert warm.authenticate(key) is None


def test_what_a_process_reads_is_what_was_last_written(world: World) -> None:
    """A read that lags could be believed for a minute after the key was revoked, and so make two."""
    reads: list[Any] = []
    with listening(world, "before-call.dynamodb.BatchGetItem", lambda params, **_: reads.append(params["body"])):
        assert fresh(world, Clock()).authenticate(world.accounts.create_key("alice")) is not None
    assert len(reads) == 1
    assert json.loads(reads[0])["RequestItems"][world.accounts_table]["ConsistentRead"] is True


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_key_with_an_end_ends_to_the_millisecond(world: World, *, is_warm: bool) -> None:
    clock = Clock()
    accounts = fresh(world, clock)
    key = world.accounts.create_key("alice", expires_at=Millis(START + 30_000))
    clock.at = START + 29_999
    assert accounts.authenticate(key) is not None
    clock.at += 1
    assert (accounts if is_warm else fresh(world, clock)).authenticate(key) is None


def test_guesses_fill_no_memory_and_displace_nobody(world: World) -> None:
    accounts = fresh(world, Clock())
    for key in itertools.islice(iter(lambda: new_api_key("alice"), None), 20):
        assert accounts.authenticate(key) is None
    assert accounts._known == {}
    assert KEPT_KEYS <= 10_000


@pytest.mark.parametrize("given", ["account#alice", "key#" + "0" * 64, "aft_alice_", "aft__" + "a" * 32, "\ud800"])
def test_what_is_no_key_is_not_even_looked_up(world: World, given: str) -> None:
    reads: list[Any] = []
    with listening(world, "before-call.dynamodb.BatchGetItem", lambda **_: reads.append(1)):
        assert fresh(world, Clock()).authenticate(given) is None
    assert reads == []


# What comparing tells


def test_a_key_is_compared_by_its_hash_alone(world: World) -> None:
    """The table is asked for a hash: how much of a guess is right changes nothing that could be measured."""
    key = world.accounts.create_key("alice")
    near = key[:-1] + ("a" if key[-1] != "a" else "b")
    asked: list[str] = []

    def listen(params: Any, **_: Any) -> None:
        asked.append(params["body"] if isinstance(params["body"], str) else params["body"].decode())

    with listening(world, "before-call.dynamodb.BatchGetItem", listen):
        assert fresh(world, Clock()).authenticate(key) is not None
        assert fresh(world, Clock()).authenticate(near) is None
    assert not any(one.rpartition("_")[2] in "".join(asked) for one in (key, near))
    shared = sum(a == b for a, b in zip(key_pk(key), key_pk(near), strict=True))
    assert shared < 30, "of 68 characters; what is alike in two keys is not in their hashes"


def test_signatures_are_compared_in_constant_time_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, for every key and every signature, also after one has matched."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("shared.signatures.hmac.compare_digest", compare)
    now, body = int(time.time()), b"{}"
    good = sign_webhook(b"key", webhook_id="msg", timestamp=now, body=body)
    headers = {"webhook-id": "msg", "webhook-timestamp": str(now), "webhook-signature": f"{good} v1,AAAA"}
    verify_webhook([b"key", b"other"], headers, body, now=now)
    assert len(compared) == 4


# Who overhears it


def test_no_secret_is_ever_logged(
    standing: tuple[World, FakeReplicate], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over every route, with right keys, wrong keys and keys where none belong; and when something breaks."""
    world, _ = standing
    with two_tenants(*standing) as scene:
        victim = scene.victim
        for route in ROUTES:
            method, path = filled(route, scene)
            if method == "DELETE":
                continue
            body = {**BODY, "webhook": "https://example.com/?secret=made-up-secret"} if method == "POST" else None
            for key in (victim.key, victim.key[:-1] + "!"):
                world.request(method, path, body, key=key)
            world.request(method, f"{path}?key={victim.key}", body, key=victim.key)
            world.request(method, path, {"prompt": victim.key, victim.key: 1} if body else None, key=victim.key)
        monkeypatch.setattr("shared.endpoint._authenticate", broken(victim.key))
        assert world.request("GET", "/v1/predictions", key=victim.key).status == 500
    heard = "\n".join(logged)
    assert '"refused"' in heard
    assert '"internal_error"' in heard
    secrets = [victim.key, victim.key.rpartition("_")[2], scene.secret, "made-up-secret", *SECRETS.values()]
    for secret in (*secrets, "a private fox", "private-fox.png"):
        assert secret not in heard


def broken(secret: str) -> Any:
    """Give what fails as nobody expected, and names a secret in its message."""

    def fail(*_: Any) -> None:
        raise ValueError(f"something is wrong with {secret}")

    return fail


def test_no_answer_repeats_a_key(standing: tuple[World, FakeReplicate]) -> None:
    world, replicate = standing
    with configured(world, **PARAMETERS):
        caller = Caller(world, replicate)
        for route in sorted(set(ROUTES) - PUBLIC):
            method, path = route.partition(" ")[0], re.sub(r"{\w+}", "x", route.partition(" ")[2])
            for key in (caller.key, caller.key + "x"):
                answered = world.request(method, path, {} if method == "POST" else None, key=key)
                assert caller.key not in answered.body.decode("latin-1") + str(answered.headers), route


def test_an_account_is_no_key(world: World) -> None:
    """The keys of both kinds of items cannot be mistaken for each other, whatever a tenant is called."""
    assert not account_pk("key").startswith("key#")
    for name in ("key#x", "account#x", "alice_", "a_b", "ALICE"):
        with pytest.raises(ValueError, match="tenant"):
            world.accounts.create_tenant(name)
