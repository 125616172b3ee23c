"""The tables and the text of the README's section on capacity, made of what the simulation found."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from infra.bench import quotas, simulation
from infra.bench.bills import standing
from infra.bench.ceilings import LEASED
from infra.bench.scenarios import LADDER
from shared.dispatching import SPREAD_S
from shared.job_store import SHARDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# ruff: noqa: E501 - the section is prose, with figures in it that take less room than their names

type Rows = tuple[Sequence[str], Sequence[Sequence[str]]]

_NOT_SHOWN = ("50/s", "300/s", "10/s set", "10/s changed")  # they are in the second table


def overview(found: Mapping[str, Any]) -> Rows:
    """Give the table of all loads."""
    header = (
        "load",
        "binds first",
        "then",
        "started a second",
        "waits for its start: median, p95, p99",
        "queue",
        "AWS, USD",
        "Replicate, USD",
    )
    return header, [_load(one) for key, one in found["scenarios"].items() if not key.startswith(_NOT_SHOWN)]


def _load(one: Mapping[str, Any]) -> Sequence[str]:
    first = one["first_to_bind"]
    then = [met["limit"] for met in one["met"] if met["limit"] != first]
    waits = one["waits_s"]["all"]
    is_steady = "usd_a_month" in one
    usd, replicate = (
        (one["usd_a_month"], one["usd_a_month_replicate"]) if is_steady else (one["usd"], one["usd_replicate"])
    )
    return (
        one["title"],
        first or "nothing",
        ", ".join(then) or "nothing",
        f"{one['started_per_s']:,.1f}",
        ", ".join(_percentiles(waits)),
        _queue(one),
        f"{usd['total']:,.0f}" + (" a month" if is_steady else ""),
        f"{replicate:,.0f}",
    )


def _queue(one: Mapping[str, Any]) -> str:
    queue = one["queue"]
    if "drained_after_s" in one:
        return (
            f"{queue['most_to_dispatch']:,} messages at most, drained after {_time(one['drained_after_s'])}; "
            f"held by {one['lowest']['name']} ({one['lowest']['jobs_per_s']:,.1f} a second)"
        )
    grows = [
        f"{name} grows by {queue[f'{name}_grows_per_s']:,.1f} a second"
        for name in ("dispatch", "archive")
        if queue[f"{name}_grows_per_s"] > 0.02 * one["load"]["rate"]
    ]
    refused = one["jobs"]["refused"] / one["jobs"]["came"]
    told = [*grows, f"{refused:.1%} refused"] if refused > 0.001 else grows  # noqa: PLR2004
    return "; ".join(told) or "stays empty"


def settings(found: Mapping[str, Any]) -> Rows:
    """Give the table of what to set for so many jobs a second."""
    header = (
        "jobs a second",
        "ReplicateRatePerMinute",
        "DispatchConcurrency",
        "ArchiveConcurrency",
        "NotifyConcurrency",
        "stage throttle: rate, burst",
        "ask AWS for",
        "the code as it is: started a second, p99",
        "with both changes",
    )
    rows = []
    for rate in LADDER:
        as_is, changed = (found["scenarios"][f"{rate:,}/s {kind}"] for kind in ("set", "changed"))
        given = as_is["settings"]
        asked = []
        if given["lambda_concurrency"] > quotas.LAMBDA_CONCURRENCY.limit:
            asked.append(f"{given['lambda_concurrency']:,} Lambda executions")
        if given["table_writes"] > quotas.NEW_TABLE_WRITES.limit:
            asked.append(f"a warm throughput of {given['table_writes']:,} write units (table Jobs and its indexes)")
        if (
            rate * found["demand"]["seconds"]["submit"] * found["code"]["secrets_of_submit"]
            > (simulation.PATIENCE_S + 1) * given["secrets_rate"]
        ):
            asked.append("SSM's higher throughput")
        rows.append(
            (
                f"{rate:,}",
                f"{given['replicate_rate']:,}",
                f"{given['dispatch_concurrency']:,}",
                f"{given['archive_concurrency']:,}",
                f"{given['notify_concurrency']:,}",
                f"{given['stage_rate']:,}, {given['stage_burst']:,}",
                "; ".join(asked) or "nothing",
                _start(as_is),
                _start(changed),
            )
        )
    return header, rows


def _start(one: Mapping[str, Any]) -> str:
    return f"{one['started_per_s']:,.1f}, {_percentiles(one['waits_s']['all'])[2]}"


def _percentiles(waits: Mapping[str, Any]) -> list[str]:
    """Tell median, p95 and p99; what is only a lower bound, since many still wait, says so."""
    names = ("median", "p95", "p99")
    return [("over " if name in waits["at_least"] else "") + _time(waits[name]) for name in names]


def tenants(found: Mapping[str, Any]) -> Rows:
    """Give the table of what tenants wait, by their size."""
    header = ("load", "tenants", "jobs started", "still waiting", "median", "p95", "p99")
    rows = []
    for key, one in found["scenarios"].items():
        if key.startswith(("unequal", "flood")):
            for group in ("largest", "middle", "small"):
                if (waits := one["waits_s"].get(group)) is not None:
                    counts = (f"{waits['started']:,}", f"{waits['waiting']:,}")
                    rows.append((one["title"], group, *counts, *_percentiles(waits)))
    return header, rows


def bills(found: Mapping[str, Any]) -> Rows:
    """Give the table of monthly bills by service."""
    names = ("1/s", "10/s set", "100/s changed", "1,000/s changed")
    services = [name for name in found["scenarios"]["1/s"]["usd_a_month"] if name != "total"]
    rows = []
    for name in names:
        one = found["scenarios"][name]
        usd = one["usd_a_month"]
        jobs = one["jobs"]["done"] / one["simulated_s"]
        rows.append(
            (
                one["title"],
                *(f"{usd[service]:,.0f}" for service in services),
                f"**{usd['total']:,.0f}**",
                f"{1000 * usd['total'] / (jobs * 30 * 86_400):.4f}",
                f"{one['usd_a_month_replicate']:,.0f}",
            )
        )
    return ("load", *services, "AWS in all", "AWS for 1,000 jobs", "Replicate"), rows


def ceilings(found: Mapping[str, Any]) -> Rows:
    """Give the table of the limits' arithmetic, with the defaults."""
    by = {kind: {one["name"]: one for one in found["ceilings"][kind]} for kind in ("equal", "unequal", "one")}
    rows = [
        (name, *(f"{by[kind][name]['jobs_per_s']:,.0f}" for kind in by), str(one["moved_by"]))
        for name, one in by["equal"].items()
    ]
    return ("limit", "20 equal tenants", "one has 80 %", "one tenant", "moved by"), rows


def text(found: Mapping[str, Any]) -> str:
    """Give the section."""
    many, flood, line = (found["scenarios"][name] for name in ("burst at 600", "flood, fair", "flood, one line"))
    at_6000 = found["scenarios"]["burst at 6,000"]
    singles = found["scenarios"]["singles at 60,000"]
    at_100, at_100_changed = found["scenarios"]["100/s set"], found["scenarios"]["100/s changed"]
    unequal = found["scenarios"]["unequal 100/s"]
    small, small_in_line = flood["waits_s"]["small"], line["waits_s"]["small"]
    whale = flood["waits_s"]["largest"]
    units = found["demand"]["units"]
    prediction = found["figures"]["prediction"]["value"]
    held = quotas.LAMBDA_CONCURRENCY.limit / (
        found["demand"]["execution_seconds"] + prediction + found["demand"]["seconds"]["archive"]
    )
    verdict = (
        "though here one line for all would do as well"
        if abs(small["p95"] - small_in_line["p95"]) < 0.1 * max(small["p95"], small_in_line["p95"])
        else f"in one line for all, small ones would wait {_time(small_in_line['p95'])} at p95"
    )
    figures = "\n".join(f"- `{name}` = {one['value']:g}: {one['source']}" for name, one in found["figures"].items())
    seconds = ", ".join(f"`{name}` {value:g}" for name, value in found["demand"]["seconds"].items())
    published = "\n".join(
        f"- {one['name']}: {one['limit']:,.0f} {one['unit']}; can be raised by: {one['change']}; "
        f"[AWS]({one['page']}){'' if one['is_verified'] else ', **not verified**'}"
        for one in found["quotas"]
    )
    return _wrap(f"""<!-- `make capacity` writes this file: change infra/bench/capacity_text.py instead. -->

## Past one machine

What follows is a simulation, not a measurement: nothing of it ran on AWS. Calls and write units are counted on the
functions themselves, limits and prices are published ones, times of functions are assumptions, all listed below.
`make capacity` repeats it, byte for byte. Tenants' own limits (`RatePerMinute`, `MaxInFlight`, `DailyBudgetUsd`) are
taken to be high enough: with their defaults of 50 a minute and 100 at a time they bind first, which is what they are for.

{_markdown(*overview(found))}

![Queues, waits, limits and bills](infra/bench/results/capacity.svg)

### What it says

- **The first limit is Replicate's**: {found["ceilings"]["equal"][0]["jobs_per_s"]:.0f} jobs a second with the default of
  600 a minute. What comes beyond waits in DispatchQueue, which grows by the difference; after `MaxQueuedHours` it fails.
- **100,000 at once at 600 a minute** are done after {_time(many["drained_after_s"])}; {_time(100_000 / 10)} would be
  ideal. Meanwhile `reconcile` sends {many["counts"].get("woken", 0):,} more messages for jobs that merely wait, so that
  DispatchQueue holds up to {many["queue"]["most_to_dispatch"]:,}, and it comes up to {_time(many["reconcile_late_s"])} late
  to whatever else is due. With a lost webhook that delays the storing of a result, which Replicate keeps for an hour.
  **Recommended change**: look after queued jobs more seldom while the queue is long (`QUEUED_S` in `shared/schedule.py`).
- **A higher limit alone changes little for batches**: at 6,000 a minute they take {_time(at_6000["drained_after_s"])},
  since `DispatchConcurrency` of {at_6000["settings"]["dispatch_concurrency"]} starts no more than
  {at_6000["settings"]["dispatch_concurrency"] / found["demand"]["seconds"]["submit"]:.1f} a second.
- **ArchiveConcurrency guards what is paid for.** At {singles["settings"]["archive_concurrency"]} it stores
  {singles["settings"]["archive_concurrency"] / found["demand"]["seconds"]["archive"]:.0f} jobs a second. With 100,000 sent
  one by one at 60,000 a minute a result waits up to {_time(singles["longest_unstored_s"])} for it, of the hour that
  Replicate keeps it ({singles["jobs"]["results_lost"]:,} lost); beyond
  {singles["settings"]["archive_concurrency"] / found["demand"]["seconds"]["archive"] * 3600:,.0f} that wait for it, paid
  results are lost. **Raise it together with ReplicateRatePerMinute, always.**
- **Permits are leased in batches that are too large** when many processes share a high limit: there are
  {found["code"]["leases_a_window"]} leases a minute, and what a process does not use lies idle. Set for 100 a second,
  {at_100["started_per_s"]:.1f} start, p99 {_percentiles(at_100["waits_s"]["all"])[2]}; with leases of at most {LEASED}
  permits {at_100_changed["started_per_s"]:.1f}, p99 {_time(at_100_changed["waits_s"]["all"]["p99"])}. More
  `DispatchConcurrency` makes it worse: every process leases. **Recommended change** in `shared/upstream_limit.py`.
- **The throttle of the stage counts everything**: {found["demand"]["requests"]} requests a job, Replicate's webhooks
  among them, so that 500 a second are {500 / found["demand"]["requests"]:.0f} jobs a second, and callers who press crowd
  out webhooks ({singles["counts"].get("webhooks refused", 0):,} refused in that burst, of which
  {singles["counts"].get("webhooks lost", 0):,} were never heard of again and were found by `reconcile`).
  **Recommended**: a parameter, and settings of its own for the webhook's route. (Whether the default is one bucket for
  all routes or one for each is not published plainly; here it is one.)
- **One tenant** can have {1000 / units["account"]:,.0f} jobs a second by the write units of its account
  ({units["account"]} a job), as many by its partition of `by_tenant` ({units["by_tenant"]} a job); but two transactions
  at once on one item cancel each other, and if each takes {found["figures"]["transaction"]["value"] * 1000:.0f} ms (an
  assumption) that is {1 / (2 * found["figures"]["transaction"]["value"]):,.0f} a second at the very most. With 80 of 100
  jobs a second, {unequal["counts"].get("refused: " + simulation.CONFLICTS, 0):,} of {unequal["jobs"]["came"]:,} submits
  were refused for it, and {unequal["counts"].get("conflicts", 0):,} tries were lost.
- **The due index** takes {units["due"]} units a job: {SHARDS} shards are full at
  {SHARDS * 1000 / units["due"]:,.0f} jobs a second. At 1,000 double them.
- **Cold starts**: `submit` reads {found["code"]["secrets_of_submit"]} parameters, and SSM answers 40 a second. A burst
  that starts more than {40 * 4 // found["code"]["secrets_of_submit"]} processes at once meets that first
  ({singles["counts"].get("refused: " + simulation.SECRETS, 0):,} requests failed): use SSM's higher throughput, or
  `GetParameters` for all of a function's in one call.
- **Callers who hold their request** (`Prefer: wait`, which Replicate's clients send by default) occupy an execution until
  the end: if all do, Lambda's 1,000 last for {held:,.0f} jobs a second instead of
  {quotas.LAMBDA_CONCURRENCY.limit / found["demand"]["execution_seconds"]:,.0f}, by arithmetic, at {prediction:g} s a prediction.

### Is the queue fair?

To the small, yes; in order, no. While the largest tenant sends 10,000 jobs at once, small ones wait
{_time(small["median"])} in the median and {_time(small["p95"])} at p95, the largest {_time(whale["median"])} and
{_time(whale["p95"])}. That is SQS's fair queue (the tenant is the message's group), if it keeps what AWS says: {verdict}.
But nothing reserves a share of Replicate's rate for anybody: who comes while permits are left starts at once, past all who wait, and what waits
comes back in random order, within {SPREAD_S:.0f} seconds of the next minute. That favours the many small and
the newcomers; a tenant's own backlog is not served in the order in which it came. In a lasting overload nobody is
protected from the largest but by its own `RatePerMinute` and `MaxInFlight`.

{_markdown(*tenants(found))}

### What to set

Each row is simulated with these settings, twice: with the code as it is, and with both changes that are recommended
(leases of at most {LEASED} permits, {2 * SHARDS} shards of the due index). Tenants need `RatePerMinute` of 60 times their
jobs a second, and `MaxInFlight` of about ten times.

{_markdown(*settings(found))}

### The bill

A month of the same load, in USD; files are kept and each is looked at once. Without any job it is {standing():.2f}.

{_markdown(*bills(found))}

### Limits by arithmetic

Jobs a second at which each limit binds, with the template's defaults.

{_markdown(*ceilings(found))}

### How, and what is assumed

Every job, message, lease and execution is simulated by itself (SimPy); nothing is scaled. A steady load is watched for
300 seconds (130 above 100 jobs a second on) and begins with warm functions, what comes then is taken to go on; bursts begin
cold and are watched to the last job. Its tests compare it with closed forms (Little's law, waiting in M/D/1, drain times,
rates of token buckets), with the leases that `shared.upstream_limit` itself gives, and count jobs in and out.

Left out: failures, retries after failures, cold starts of other functions than `submit`, logs webhooks, requests that are
held (`Prefer: wait`: each holds one of Lambda's executions for as long as the prediction takes), Replicate's own queues
and cold boots, DynamoDB's bursts above a partition's rate, unused capacity that a table keeps, and the time that a poller
of Lambda takes. SQS's fair queue is taken to know noisy tenants by their share of the processing time alone (above 10 %):
its other rule needs 30 messages of one tenant in flight, more than the default `DispatchConcurrency` lets be. An event source has all its executions from the beginning (Lambda begins with 5 and adds
300 a minute). A process of `submit` that was used last is used first. SQS is taken to deliver in order, and to forget who
used the consumers within a minute. A refused caller of a steady load does not come back; one of a burst tries again after
1 to 30 seconds.

Seconds of functions, from `infra/bench/calls.py`: {seconds}. Other figures:

{figures}

Quotas, looked up in {found["quotas_of"]}, for us-east-1:

{published}

Prices are of {found["prices_of"]} (`infra/bench/prices.py` says which were not looked up), without free tiers or discounts.
""")


def _wrap(text: str) -> str:
    """Break lines anew, since figures are as long as they are; tables, headings and lists of one line stay."""
    blocks = re.split(r"\n(?=- |\n)", text)
    return "\n".join(block if re.match(r"\n?[|#!<]", block) else _fill(block) for block in blocks) + "\n"


def _fill(block: str) -> str:
    begins = "\n" if block.startswith("\n") else ""
    indent = "  " if block.lstrip().startswith("- ") else ""
    words = " ".join(block.split())
    return begins + textwrap.fill(words, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def _time(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004 - above, minutes are easier to read
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"  # noqa: PLR2004
