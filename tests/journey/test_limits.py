"""Limits: what many do at once is counted as exactly as what one does alone."""

import time

import httpx
import pytest

from tests.journey.local import CROWD, DEV, PRICES, SCHNELL, Local, Tenant
from tests.journey.replicate import Replicate

pytestmark = pytest.mark.sockets


def test_of_300_submits_within_a_minute_exactly_the_50_allowed_are_accepted(local: Local) -> None:
    with local.tenant(rate_per_minute=50) as tenant:
        started = time.monotonic()
        accepted, refused = _sorted(tenant.at_once(300, tenant.predict, callers=CROWD))
        assert 50 <= len(accepted) <= 50 * _minutes_since(started)
        assert refused
        for answer in refused:
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited"), answer.text
            assert answer.json()["retryable"] is True
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert "x-should-retry" not in answer.headers
        assert "50 requests a minute" in refused[-1].json()["detail"]
        _check_paid(local, tenant, accepted, len(accepted))


def test_after_the_minute_as_many_again_are_accepted(local: Local) -> None:
    with local.tenant(rate_per_minute=3) as tenant:
        local.hold_minute(tenant)
        first, refused = _sorted(tenant.at_once(5, tenant.predict))
        assert (len(first), len(refused)) == (3, 2)
        local.end_minute(tenant)
        started = time.monotonic()
        second, _ = _sorted(tenant.at_once(8, tenant.predict))
        assert 3 <= len(second) <= 3 * _minutes_since(started)
        _check_paid(local, tenant, first + second, 3 + len(second))


def test_of_40_submits_a_budget_for_20_lets_exactly_20_pass(local: Local) -> None:
    with local.tenant(daily_budget=500_000) as tenant:
        answers = tenant.at_once(40, lambda: tenant.predict(DEV), callers=CROWD)
        accepted, refused = _sorted(answers)
        assert (len(accepted), len(refused)) == (20, 20)
        for answer in refused:
            assert (answer.status_code, answer.json()["code"]) == (402, "budget_exceeded"), answer.text
        assert "0.5 USD a day" in refused[0].json()["detail"]
        _check_paid(local, tenant, accepted, 20, price=PRICES[DEV])
        # What is spent stays spent.
        assert tenant.predict(DEV).status_code == 402


def test_what_failed_for_free_gives_its_budget_back(local: Local) -> None:
    with local.tenant(daily_budget=2 * PRICES[SCHNELL]) as tenant:
        local.end([tenant.generate("nsfw-all", num_images=2)])
        assert local.account(tenant) == (0, 0)
        local.end([tenant.generate(num_images=2)])
        assert tenant.predict().status_code == 402


def test_of_20_submits_exactly_the_5_that_may_be_in_flight_are_accepted(local: Local, replicate: Replicate) -> None:
    replicate.hold()
    with local.tenant(max_in_flight=5) as tenant:
        accepted, refused = _sorted(tenant.at_once(20, tenant.predict, callers=CROWD))
        assert (len(accepted), len(refused)) == (5, 15)
        for answer in refused:
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_in_flight"), answer.text
            assert int(answer.headers["retry-after"]) >= 1
        assert local.account(tenant)[0] == 5
        replicate.misbehave()
        _check_paid(local, tenant, accepted, 5)
        local.end([tenant.generate()])


def test_40_submits_with_one_key_are_one_job_and_one_charge(tenant: Tenant, local: Local) -> None:
    key = {"Idempotency-Key": "the only one"}
    answers = tenant.at_once(40, lambda: tenant.predict(headers=key), callers=CROWD)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    _check_paid(local, tenant, answers[:1], 1)
    # Also long after, and not under another tenant's name.
    later = tenant.predict(headers=key)
    assert (later.json()["id"], later.json()["status"]) == (answers[0].json()["id"], "succeeded")
    with local.tenant() as other:
        foreign = other.predict(headers=key).json()["id"]
        assert foreign != later.json()["id"]
        local.end([foreign])


def test_a_key_with_another_body_is_refused(tenant: Tenant, local: Local) -> None:
    key = {"Idempotency-Key": "mine"}
    first = tenant.predict(headers=key)
    second = tenant.predict(headers=key, seed=3)
    assert (second.status_code, second.json()["code"]) == (422, "idempotency_key_reused")
    assert second.headers["x-should-retry"] == "false"
    _check_paid(local, tenant, [first], 1)


def test_a_refused_request_does_not_use_up_its_key(local: Local) -> None:
    key = {"Idempotency-Key": "again"}
    with local.tenant(rate_per_minute=1) as tenant:
        local.hold_minute(tenant)
        first = tenant.predict()
        assert tenant.predict(headers=key).status_code == 429
        local.end_minute(tenant)
        second = tenant.predict(headers=key)
        assert second.status_code == 201
        assert tenant.predict(headers=key).json()["id"] == second.json()["id"]
        _check_paid(local, tenant, [first, second], 2)


def test_one_tenants_limit_is_not_anothers(local: Local, tenant: Tenant) -> None:
    with local.tenant(rate_per_minute=1) as limited:
        local.hold_minute(limited)
        accepted, refused = _sorted([limited.predict() for _ in range(3)])
        assert (len(accepted), len(refused)) == (1, 2)
        _check_paid(local, tenant, [tenant.predict()], 1)
        _check_paid(local, limited, accepted, 1)


def _sorted(answers: list[httpx.Response]) -> tuple[list[httpx.Response], list[httpx.Response]]:
    accepted = [answer for answer in answers if answer.is_success]
    return accepted, [answer for answer in answers if not answer.is_success]


def _check_paid(
    local: Local, tenant: Tenant, accepted: list[httpx.Response], images: int, *, price: int = PRICES[SCHNELL]
) -> None:
    """Wait for the end: every accepted job ran once, and the account agrees with what Replicate takes."""
    jobs = local.end([answer.json()["id"] for answer in accepted])
    assert {job.id for job in jobs} == {job.id for job in local.jobs_of(tenant)}
    assert {job.status for job in jobs} == {"succeeded"}
    assert local.charged(jobs) == len(jobs) == images
    assert local.account(tenant) == (0, images * price)


def _minutes_since(started: float) -> int:
    """Count the minutes that may have begun since: one, but on a machine that is very slow."""
    return 1 + int(time.monotonic() - started) // 60
