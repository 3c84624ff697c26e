"""Tables: this library against a fixed window, and the search for culprits against simpler ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import anyio
import attrs

from batcher import AutoBatchPolicy, Limits, Outcome, Quota, RecordError, RetryPolicy, Write, Writer, WriteType, Written
from batcher.testing import virtual_time
from tests.simulation.baseline import Failed, FixedWindow
from tests.simulation.journals import Journal, Submission
from tests.simulation.plans import Conduct, tenant_of
from tests.simulation.provider import Call, Provider
from tests.simulation.running import faithful

RECORDS = 5_000
_FATES = ("lost", "doubled", "misattributed", "told failed, but there", "good, and not written", "told unknown")
_SEARCHES = ("ours, any number of calls", "ours, 50 at most", "good ones then rejected", "plain halving", "one by one")


@attrs.define(kw_only=True)
class Trial:
    """One row: how the provider behaves, and who calls."""

    name: str
    conduct: Conduct
    rate: float = 500.0
    tenants: int = 5
    hot: float = 0.0
    bad: float = 0.0
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    limits: Limits = attrs.field(factory=lambda: Limits(call_timeout=10))
    auto_batch: AutoBatchPolicy = attrs.field(factory=AutoBatchPolicy)


@attrs.frozen
class Row:
    """What came of it."""

    drain: float
    calls: int
    lost: int
    doubled: int
    misattributed: int
    denied: int
    spoilt: int
    unknown: int
    p50: float
    p99: float


class Unwatched:
    """Stands in for the laws, which are no matter here."""

    def __init__(self) -> None:
        self.calls = 0

    def departs(self, call: Call) -> None:
        self.calls += 1

    def ends(self, call: Call, now: float) -> None: ...

    def pauses(self, lane: Any, after: float, now: float) -> None: ...

    def learns(self, call: Call) -> None: ...


def trials() -> list[tuple[Trial, Trial]]:
    """Return what is compared: the same provider and callers, with our policies and with the baseline's."""
    limit = Quota(calls=10, per=1.0, by=tenant_of)
    resets = {"reset after": 0.1}
    answers = {"shuffled answer": 0.3, "short answer": 0.05, "entries missing": 0.1}
    same = [
        Trial(name="healthy", conduct=Conduct()),
        Trial(name="429 with Retry-After", conduct=Conduct(quota=limit), rate=2500),
        Trial(name="429 without", conduct=Conduct(quota=limit, retry_after=False), rate=2500),
        Trial(name="brown-out", conduct=Conduct(brownouts=[(2.0, 8.0)])),
        Trial(name="resets after applying", conduct=Conduct(faults=resets)),
        Trial(name="shuffled and short answers", conduct=Conduct(faults=answers)),
        Trial(name="poison, refused by name", conduct=Conduct(refusal="named"), bad=0.01),
        Trial(name="poison, the call refused", conduct=Conduct(refusal="opaque"), bad=0.01),
        Trial(name="locked rows", conduct=Conduct(locks=True), rate=1000),
        Trial(name="a dead tenant among 1,000", conduct=Conduct(sick={1: "hangs"}), tenants=1000),
        Trial(name="a hot tenant among 1,000", conduct=Conduct(), tenants=1000, hot=0.7, rate=2000),
    ]
    pairs = [(trial, trial) for trial in same]
    stated = attrs.evolve(
        same[1],
        name="429, and we know the quota",
        conduct=Conduct(quota=limit, stated=True),
        limits=Limits(call_timeout=10, quotas=[limit]),
    )
    verified = attrs.evolve(
        same[4],
        name="resets, and we may ask",
        conduct=Conduct(faults=resets, unique=True),
        retry=RetryPolicy(on_unknown="verify"),
    )
    pairs.insert(3, (stated, same[1]))
    pairs.insert(6, (verified, attrs.evolve(same[4], conduct=Conduct(faults=resets, unique=True))))
    return pairs


def compare() -> str:
    """Return both tables in Markdown."""
    lines = _head("script", "", "drained in", "calls", *_FATES, "wait p50", "p99")
    for ours, theirs in trials():
        for who, trial, run in (("ours", ours, _ours), ("fixed window", theirs, _theirs)):
            row = _play(trial, run, raw=who != "ours")
            name = ours.name if who == "ours" else ""
            figures = f"{row.calls:,} | {row.lost:,} | {row.doubled:,} | {row.misattributed:,} | {row.denied:,}"
            times = f"{row.p50:.2f} s | {row.p99:.2f} s"
            lines.append(
                f"| {name} | {who} | {row.drain:.1f} s | {figures} | {row.spoilt:,} | {row.unknown:,} | {times} |"
            )
    return "\n".join([*lines, "", *isolation()])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*titles: str) -> list[str]:
    return [_line(*titles), _line(*("---" if title in ("script", "") else "--:" for title in titles))]


Contender = Callable[[Trial, Provider, Sequence[Submission]], Awaitable[None]]


def _play(trial: Trial, contender: Contender, *, raw: bool) -> Row:
    with faithful(f"{trial.name} {raw}", "asyncio"):
        return anyio.run(_run, trial, contender, raw, backend_options=virtual_time("asyncio"))


async def _run(trial: Trial, contender: Contender, raw: bool) -> Row:
    journal, watch = Journal(), Unwatched()
    journal.now = anyio.current_time
    provider = Provider(trial.conduct, 1, journal, watch, raw=raw)
    submissions = _submissions(trial)
    provider.known = {each.tag: each for each in submissions}
    await contender(trial, provider, submissions)
    provider.finish()
    return _row(submissions, watch.calls)


def _submissions(trial: Trial) -> list[Submission]:
    rng = Random(7)
    submissions = []
    for tag in range(RECORDS):
        tenant = 0 if rng.random() < trial.hot else rng.randrange(trial.tenants)
        submission = Submission(
            tag=tag,
            write=Write(f"t{tenant}", WriteType.CREATE, {"tag": tag}),
            tenant=tenant,
            identity=None,
            bad=rng.random() < trial.bad,
            parent=rng.randrange(200) if trial.conduct.locks else None,
            size=200,
        )
        submission.offered_at = tag / trial.rate
        submissions.append(submission)
    return submissions


async def _ours(trial: Trial, provider: Provider, submissions: Sequence[Submission]) -> None:
    writer = Writer(provider, auto_batch=trial.auto_batch, retry=trial.retry, limits=trial.limits)

    async def submit(each: Submission) -> None:
        try:
            each.outcome = await writer.submit(each.write)
        except RecordError as error:
            each.outcome = error.outcome
        each.told_at = anyio.current_time()

    async with writer, anyio.create_task_group() as tasks:
        for each in submissions:
            await anyio.sleep_until(each.offered_at)
            tasks.start_soon(submit, each)


async def _theirs(trial: Trial, provider: Provider, submissions: Sequence[Submission]) -> None:
    async with anyio.create_task_group() as tasks:
        jitter = Random(8).random
        window = FixedWindow(provider, tasks, trial.auto_batch, trial.retry, trial.limits, jitter)

        async def submit(each: Submission) -> None:
            try:
                result = await window.submit(each)
                each.outcome = result if isinstance(result, Outcome) else None
            except Failed:
                each.refused = "failed"
            each.told_at = anyio.current_time()

        for each in submissions:
            await anyio.sleep_until(each.offered_at)
            tasks.start_soon(submit, each)


def _row(submissions: Sequence[Submission], calls: int) -> Row:
    waits = sorted(each.told_at - each.offered_at for each in submissions)
    told_no = [each for each in submissions if each.refused or (each.outcome and each.outcome.applied == "no")]
    return Row(
        drain=max(each.told_at for each in submissions),
        calls=calls,
        lost=sum(_is_lost(each) for each in submissions),
        doubled=sum(each.applied > 1 for each in submissions),
        misattributed=sum(isinstance(each.outcome, Written) and each.outcome.data != each.tag for each in submissions),
        denied=sum(each.applied > 0 for each in told_no),
        spoilt=sum(not each.applied and not each.bad for each in told_no),
        unknown=sum(each.outcome is not None and each.outcome.kind == "unknown" for each in submissions),
        p50=waits[len(waits) // 2],
        p99=waits[len(waits) * 99 // 100],
    )


def _is_lost(each: Submission) -> bool:
    """Nobody was told what became of it, or it is told to be written and is not there."""
    if each.outcome is None:
        return each.refused is None
    return each.outcome.applied == "yes" and not each.applied


# The search for culprits


def isolation(samples: int = 200) -> list[str]:
    """Return the second table."""
    lines = _head("bad of 100", *_SEARCHES)
    for bad in (1, 2, 5, 10, 25):
        places = [frozenset(Random(f"{bad} {index}").sample(range(100), bad)) for index in range(samples)]
        free = [_search(each, 10_000) for each in places]
        limited = [_search(each, 50) for each in places]
        halving = sum(map(_halving, places)) / samples
        ours, most = (sum(calls for calls, _ in results) / samples for results in (free, limited))
        spoilt = sum(lost for _, lost in limited) / samples
        lines.append(f"| {bad} | {ours:.1f} | {most:.1f} | {spoilt:.1f} | {halving:.1f} | 101 |")
    return lines


def _search(bad: frozenset[int], most: int) -> tuple[int, int]:
    """Return the calls that our search takes, and how many good records it rejects for want of more."""

    async def main() -> tuple[int, int]:
        trial = Trial(name="search", conduct=Conduct(refusal="opaque"), retry=RetryPolicy(isolation_calls=most))
        journal, watch = Journal(), Unwatched()
        journal.now = anyio.current_time
        provider = Provider(trial.conduct, 1, journal, watch)
        submissions = _submissions(trial)[:100]
        for each in submissions:
            each.bad = each.tag in bad
            each.write = Write("t0", WriteType.CREATE, {"tag": each.tag})
        provider.known = {each.tag: each for each in submissions}
        async with Writer(provider, retry=trial.retry) as writer:
            outcomes = await writer.submit_all([each.write for each in submissions])
        spoilt = sum(
            outcome.kind != "written" for each, outcome in zip(submissions, outcomes, strict=True) if not each.bad
        )
        return watch.calls, spoilt

    with faithful("search", "asyncio"):
        return anyio.run(main, backend_options=virtual_time("asyncio"))


def _halving(bad: frozenset[int]) -> int:
    """Return the calls that plain halving takes, which learns nothing from a clean half."""

    def calls(first: int, last: int) -> int:
        if not any(first <= each < last for each in bad) or last - first == 1:
            return 1
        middle = (first + last) // 2
        return 1 + calls(first, middle) + calls(middle, last)

    return calls(0, 100)
