"""When a job is looked at again: the due index holds every job that still needs something.

A job enters the index when it is created and leaves it when its manifest exists. In between, each event says until
when the next one should have come.
"""

from __future__ import annotations

from shared.job import Job, Millis, Status

CLAIM_FRESH_S = 15  # from the claim to the POST
CLAIM_S = 60  # longer than that and any create (20 s) together, with a margin
POLL_S = 30  # of silence while a prediction runs, far inside the hour that outputs live
POLL_WITHOUT_WEBHOOKS_S = 2
LEASE_S = 330  # longer than `archive` may run
MANIFEST_S = 60  # from the end of the job to its manifest
QUEUED_S = 300  # after its message should have come: then it is lost, or far back in a long queue


LONGEST_QUEUED_S = 3600
LONGEST_POLL_S = 300  # between two polls: many fit into the hour that outputs live


def next_look(job: Job, now: Millis, *, poll_s: int) -> Millis:
    """Say when to look after a job again if nothing is heard of it: 1.5 times as long after its start each time.

    A job that is queued is looked at when it is three times as old. `poll_s` is the shortest time, in seconds. A
    deadline is not missed for it.
    """
    age_s = (now - (job.claimed_at or job.created_at)) / 1000
    if job.ended:
        return after(now, MANIFEST_S)
    if job.status is Status.STORING:
        return after(now, LEASE_S)
    if job.status is Status.QUEUED:
        # Each look sends one more message, and keeps others waiting: in a queue of hours they would be most of it.
        return by_deadline(job, after(now, min(max(QUEUED_S, 2 * age_s), LONGEST_QUEUED_S)), now)
    return by_deadline(job, after(now, min(max(poll_s, age_s / 2), LONGEST_POLL_S)), now)


def by_deadline(job: Job, due_at: Millis, now: Millis) -> Millis:
    """Make a job due no later than its deadline, if that is still to come."""
    deadline = job.deadline_at
    return due_at if deadline is None or deadline <= now else min(due_at, deadline)


def after(now: Millis, seconds: float) -> Millis:
    """Give the time so many seconds later."""
    return Millis(now + round(seconds * 1000))


def retry_delay(tries: int) -> int:
    """Give the seconds before something unavailable is tried again: 5, 10, 20 … 300."""
    return min(5 << min(tries, 10), 300)
