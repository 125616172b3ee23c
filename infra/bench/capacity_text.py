"""The tables and the text of the README's section on capacity, made of what the simulation found."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from infra.bench import prices, quotas, simulation
from infra.bench.bills import standing
from infra.bench.ceilings import SECRET_PATIENCE_S, starts_at_once
from infra.bench.scenarios import BILLS, LADDER
from shared.dispatching import SPREAD_S
from shared.services import SECRET_TRIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# ruff: noqa: E501 - the section is prose, with figures in it that take less room than their names

type Rows = tuple[Sequence[str], Sequence[Sequence[str]]]

_NOT_SHOWN = ("10/s set", "50/s set", "300/s set", "1,000/s shards", "flood")  # told elsewhere


def overview(found: Mapping[str, Any]) -> Rows:
    """Give the table of all loads."""
    header = ("jobs", "settings", "binds", "starts a second", "wait: median, p95, p99", "queues", "AWS, USD")
    return header, [_load(one) for key, one in found["scenarios"].items() if not key.startswith(_NOT_SHOWN)]


def _load(one: Mapping[str, Any]) -> Sequence[str]:
    usd = f"{one['usd_a_month']['total']:,.0f} a month" if "usd_a_month" in one else f"{one['usd']['total']:,.0f}"
    waits = ", ".join(_percentiles(one["waits_s"]["all"]))
    return one["what"], one["setup"], _binds(one), f"{one['started_per_s']:,.1f}", waits, _queue(one), usd


def _binds(one: Mapping[str, Any]) -> str:
    first = one["first_to_bind"] or "nothing"
    if "drained_after_s" not in one or one["held_by"] == first:
        return first
    return "; ".join(filter(None, (one["held_by"], f"at first {first}")))


def _queue(one: Mapping[str, Any]) -> str:
    queue = one["queue"]
    if "drained_after_s" in one:
        return f"at most {queue['most_to_dispatch']:,}, done after {_time(one['drained_after_s'])}"
    grows = [
        f"{name} +{queue[f'{name}_grows_per_s']:,.1f} a second"
        for name in ("dispatch", "archive")
        if queue[f"{name}_grows_per_s"] > 0.02 * one["load"]["rate"]
    ]
    refused = one["jobs"]["refused"] / one["jobs"]["came"]
    told = [*grows, f"{refused:.1%} refused"] if refused > 0.001 else grows  # noqa: PLR2004
    return "; ".join(told) or "stay empty"


def settings(found: Mapping[str, Any]) -> Rows:
    """Give the table of what to set for so many jobs a second."""
    header = (
        "jobs a second",
        "ReplicateRatePerMinute",
        "Dispatch-, Archive-, NotifyConcurrency",
        "RequestsPerSecond, -AtOnce",
        "ask AWS for",
        "starts a second, p99",
    )
    rows = []
    for rate in LADDER:
        one = found["scenarios"][f"{rate:,}/s set"]
        given = one["settings"]
        asked = []
        if given["lambda_concurrency"] > quotas.LAMBDA_CONCURRENCY.limit:
            asked.append(f"{given['lambda_concurrency']:,} Lambda executions")
        if given["table_writes"] > quotas.NEW_TABLE_WRITES.limit:
            asked.append(f"{given['table_writes']:,} warm write units (Jobs, its indexes)")
        # A deployment lets all processes of `submit` start anew.
        processes = rate * found["demand"]["seconds"]["submit"]
        if processes > starts_at_once(found["code"]["secrets_of_submit"]):
            asked.append("SSM's higher throughput")
        parallel = (f"{given[f'{name}_concurrency']:,}" for name in ("dispatch", "archive", "notify"))
        rows.append(
            (
                f"{rate:,}",
                f"{given['replicate_rate']:,}",
                ", ".join(parallel),
                f"{given['requests_per_second']:,}, {given['requests_at_once']:,}",
                "; ".join(asked) or "nothing",
                _start(one),
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
    groups = ("largest", "middle", "small")
    rows = []
    for key, one in found["scenarios"].items():
        if key.startswith(("unequal", "flood")):
            waits = [", ".join(_percentiles(one["waits_s"][group])[:2]) for group in groups]
            rows.append((one["what"], one["setup"], *waits))
    return ("jobs", "settings", *(f"{group}: median, p95" for group in groups)), rows


def bills(found: Mapping[str, Any]) -> Rows:
    """Give the table of monthly bills by service."""
    services = [name for name in found["scenarios"]["1/s"]["usd_a_month"] if name != "total"]
    rows = []
    for key in BILLS:
        one = found["scenarios"][key]
        usd = one["usd_a_month"]
        jobs = one["jobs"]["done"] / one["simulated_s"] * prices.SECONDS_A_MONTH
        rows.append(
            (
                one["what"],
                *(f"{usd[service]:,.0f}" for service in services),
                f"**{usd['total']:,.0f}**",
                f"{1000 * usd['total'] / jobs:.4f}",
                f"{one['usd_a_month_replicate']:,.0f}",
            )
        )
    return ("jobs", *services, "AWS", "for 1,000 jobs", "Replicate"), rows


def ceilings(found: Mapping[str, Any]) -> Rows:
    """Give the table of the limits' arithmetic, with the defaults."""
    by = {kind: {one["name"]: one for one in found["ceilings"][kind]} for kind in ("equal", "unequal", "one")}
    rows = [
        (name, *(f"{by[kind][name]['jobs_per_s']:,.0f}" for kind in by), str(one["moved_by"]))
        for name, one in by["equal"].items()
    ]
    return ("limit", "20 equal tenants", "one has 80 %", "one tenant", "moved by"), rows


ASSUMED = "### What is assumed"


def text(found: Mapping[str, Any]) -> str:
    """Give the section: its main part, and what is assumed."""
    return _wrap(f"{_main_part(found)}\n{_assumptions(found)}")


def _main_part(found: Mapping[str, Any]) -> str:
    scenarios, code, demand = found["scenarios"], found["code"], found["demand"]
    many, at_6000, at_6000_set = (scenarios[f"burst at {kind}"] for kind in ("600", "6,000", "6,000 set"))
    singles, unequal = scenarios["singles at 60,000"], scenarios["unequal 100/s"]
    at_1000, with_shards = scenarios["1,000/s set"], scenarios["1,000/s shards"]
    units, seconds = demand["units"], demand["seconds"]
    stored = singles["settings"]["archive_concurrency"] / seconds["archive"]
    dispatched = at_6000["settings"]["dispatch_concurrency"] / seconds["submit"]
    rate = singles["settings"]["requests_per_second"]
    transaction = found["figures"]["transaction"]["value"]
    prediction = found["figures"]["prediction"]["value"]
    secrets = code["secrets_of_submit"]
    slower = _archiving_s(at_1000) - _archiving_s(with_shards)
    executions = quotas.LAMBDA_CONCURRENCY.limit
    held = executions / (demand["execution_seconds"] + prediction + seconds["archive"])
    small = _percentiles(scenarios["flood, fair"]["waits_s"]["small"])
    return f"""<!-- `make capacity` writes this file: change infra/bench/capacity_text.py instead. -->

## Past one machine

Simulated, not measured: nothing of it ran on AWS. Calls and write units are counted on the functions themselves, limits
and prices are published ones, times of functions are assumed (all listed). `make capacity` repeats it, byte for byte. What
is not said to be set has its default; tenants' own limits are taken to be high enough: with their defaults, 50 a minute and
100 at a time, they bind first, which is what they are for.

{_markdown(*overview(found))}

![Queues, waits, limits and bills](infra/bench/results/capacity.svg)

- **Replicate's limit comes first**: {found["ceilings"]["equal"][0]["jobs_per_s"]:.0f} jobs a second with the default of
  600 a minute. What is above it waits in DispatchQueue, and fails after `MaxQueuedHours`.
- **100,000 at once** take {many["drained_after_s"] / 60:.0f} minutes at 600 a minute, where {100_000 / 600:.0f} are the
  least; at 6,000 a minute {at_6000["drained_after_s"] / 60:.0f}, since `DispatchConcurrency` of
  {at_6000["settings"]["dispatch_concurrency"]} starts {dispatched:.1f} a second; set for 100 a second
  {at_6000_set["drained_after_s"] / 60:.0f}.
- **A long queue keeps `reconcile` busy**: after five minutes all of the 100,000 are due. At 600 a minute it sends
  {many["counts"].get("woken", 0):,} messages that only repeat others, and comes up to {_time(many["reconcile_late_s"])} late,
  also to jobs whose webhook was lost. **Shards of their own** for jobs that wait would spare others that.
- **ArchiveConcurrency guards what is paid for**: {singles["settings"]["archive_concurrency"]} store {stored:.0f} jobs a
  second, and Replicate keeps results for an hour. With 100,000 sent singly at 60,000 a minute one waits up to
  {_time(singles["longest_unstored_s"])} ({singles["jobs"]["results_lost"]:,} lost); beyond {stored * 3600:,.0f} that wait,
  paid results are lost. Raise it together with `ReplicateRatePerMinute`, always.
- **RequestsPerSecond** of {rate} lets {rate / (1 + demand["reads"]):.0f} jobs a second in ({1 + demand["reads"]} requests
  each), and beside them the webhooks of {rate / demand["webhooks"]:.0f} ({demand["webhooks"]} each). In that burst callers
  are refused {singles["counts"].get("refused: " + simulation.STAGE, 0):,} times, webhooks
  {singles["counts"].get("webhooks refused", 0):,} times.
- **One tenant** can have {1000 / units["account"]:,.0f} jobs a second by the write units of its account and of its
  partition of `by_tenant`. But two transactions at once on one item cancel each other: at {transaction * 1000:.0f} ms each
  {1 / (2 * transaction):,.0f} a second is the very most, and with 80 of 100 jobs a second
  {unequal["counts"].get("refused: " + simulation.CONFLICTS, 0):,} of {unequal["jobs"]["came"]:,} submits are refused.
- **The due index** takes {units["due"]} units a job, so that {code["shards"]} shards are full at
  {code["shards"] * 1000 / units["due"]:,.0f} jobs a second. So many just pass: `archive` takes {1000 * slower:.0f}
  ms longer than with {2 * code["shards"]}. **Double `SHARDS`** before.
- **Cold starts**: `submit` reads its secrets in {secrets} call, SSM answers {quotas.SECRETS.limit:.0f} a second, and the
  {SECRET_TRIES} tries of each wait {SECRET_PATIENCE_S:.1f} s together, on average. So {starts_at_once(secrets)}
  processes can start at once; {singles["counts"].get("refused: " + simulation.SECRETS, 0):,} requests of the 100,000
  singles fail of it. For more **use SSM's higher throughput**.
- **Callers who hold their request** (`Prefer: wait`) occupy an execution until the end: if all do, Lambda's
  {executions:,.0f} last for {held:,.0f} jobs a second instead of {executions / demand["execution_seconds"]:,.0f}, by
  arithmetic, at {prediction:g} s a prediction.

### Is the queue fair?

To the small, yes; in order, no. Of unequal tenants one of 50 has 80 %. While it has 10,000 jobs at once, small ones wait
{small[0]} in the median and {small[1]} at p95: that is SQS's fair queue, if it keeps what AWS says. But nobody has a share
of Replicate's rate: who comes while permits are left starts past all who wait, and what waits comes back in random order,
within {SPREAD_S:.0f} seconds of the next minute. In a lasting overload only the largest's own limits protect the others.

{_markdown(*tenants(found))}

### What to set

Each row is simulated with its settings. Tenants need `RatePerMinute` of 60 times their jobs a second, and `MaxInFlight`
of about ten times.

{_markdown(*settings(found))}

### The bill

USD a month, set for the load (1,000 a second with {2 * code["shards"]} shards); without any job {standing():.2f}.

{_markdown(*bills(found))}
"""


def _archiving_s(one: Mapping[str, Any]) -> float:
    return float(one["counts"]["ms: archive"] / one["counts"]["executions: archive"] / 1000)


def _assumptions(found: Mapping[str, Any]) -> str:
    figures = "; ".join(f"`{name}` {one['value']:g}: {one['meaning']}" for name, one in found["figures"].items())
    seconds = ", ".join(f"`{name}` {value:g}" for name, value in found["demand"]["seconds"].items())
    published = "; ".join(
        f"[{one['name']}]({one['page']}): {one['limit']:,.0f}{'' if one['is_verified'] else ' (not verified)'}"
        for one in found["quotas"]
    )
    return f"""### What is assumed

- **How**: every job, message, lease and execution is simulated by itself (SimPy); nothing is scaled. A steady load is
  watched for 300 seconds (130 above 100 jobs a second) and begins with warm functions; bursts begin cold and are watched to
  the last job. "over" says that what still waits may wait longer. Tests compare it with closed forms (Little's law, M/D/1,
  drain times, token buckets), with the leases and the looks of the code itself, and with the calls that it makes today.
- **Seconds of functions**, assumed in `infra/bench/calls.py`: {seconds}.
- **Other figures**, all assumed: {figures}.
- **Left out**: failures and retries after them, cold starts of other functions than `submit` (whose parameters SSM counts
  too), logs webhooks, requests that are held, Replicate's own queues and cold boots, DynamoDB's bursts above a partition's
  rate, unused capacity that a table keeps, the write of each lease of up to {found["code"]["most_leased"]} permits, and the
  time that a poller of Lambda takes.
- **Taken for granted**: SQS delivers in order, forgets who used its consumers within a minute, and knows noisy tenants by
  their share of the processing time alone (above 10 %: its other rule needs 30 messages of one tenant in flight). An event
  source has all its executions from the beginning. A process of `submit` that was used last is used first. A refused caller
  of a steady load does not come back; one of a burst tries again after 1 to 30 seconds. The webhook's route has a bucket of
  its own, all other routes share one.
- **Quotas**, looked up in {found["quotas_of"]}, for us-east-1: {published}.
- **Prices** are of {found["prices_of"]} (`infra/bench/prices.py` says which were not looked up), without free tiers or
  discounts. What comes in a month is kept to its end.

Jobs a second at which each limit binds, by arithmetic, with the template's defaults:

{_markdown(*ceilings(found))}
"""


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


def for_readme(found: Mapping[str, Any]) -> str:
    """Give the main part of the text, for the README, as a part of one of its sections."""
    main, _, _ = text(found).partition(ASSUMED)
    main = main.partition("-->")[2].replace("\n##", "\n###")
    return (
        f"{main.strip()}\n\nWhat is assumed, and every limit, is in [`capacity.md`](infra/bench/results/capacity.md).\n"
    )
