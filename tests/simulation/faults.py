"""What can befall a call: one small function each. A new fault is a new entry.

A fault ends a call in its own way: it returns what ``send()`` returns, or raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from batcher import Retry, WriteType, Written
from batcher.destinations.http_batch import Call as Request
from batcher.destinations.http_batch import Item, by_key

if TYPE_CHECKING:
    from tests.simulation.provider import Call, Provider

Fault: TypeAlias = Callable[["Provider", "Call"], Any]


def reset_before(provider: Provider, call: Call) -> Any:
    call.doubt()
    raise ConnectionResetError("reset by peer")


def reset_after(provider: Provider, call: Call) -> Any:
    provider.carry_out(call)
    call.doubt()
    raise ConnectionResetError("reset by peer")


def reset_applied_late(provider: Provider, call: Call) -> Any:
    provider.carry_out_later(call)
    call.doubt()
    raise ConnectionResetError("reset by peer")


def answer_lost(provider: Provider, call: Call) -> Any:
    if provider.rng.random() < 0.5:
        provider.carry_out(call)
    call.doubt()
    raise Retry("the answer was lost", applied="maybe")


def no_connection(provider: Provider, call: Call) -> Any:
    raise Retry("no connection")


def busy(provider: Provider, call: Call) -> Any:
    raise Retry("busy")


def too_many(provider: Provider, call: Call) -> Any:
    provider.watch.pauses(call.lane, 0.0, provider.journal.now())
    raise Retry("429", pause_lane=True)


def too_many_until(provider: Provider, call: Call) -> Any:
    after = provider.rng.uniform(0.1, 3)
    provider.watch.pauses(call.lane, after, provider.journal.now())
    raise Retry("429", after=after, pause_lane=True)


def records_busy(provider: Provider, call: Call) -> Any:
    """Some records are to come again, alone or with their group."""
    if call.all_or_none:
        return [Retry("busy")] * len(call.carried)
    spared = [submission for submission in call.carried if provider.rng.random() < 0.7]
    verdicts = dict(zip(spared, provider.apply(spared, call), strict=True))
    return [verdicts.get(submission, Retry("busy")) for submission in call.carried]


def short_answer(provider: Provider, call: Call) -> Any:
    verdicts = provider.apply_all(call)
    call.doubt()
    return verdicts[:-1]


def long_answer(provider: Provider, call: Call) -> Any:
    verdicts = provider.apply_all(call)
    call.doubt()
    return [*verdicts, verdicts[0]]


def garbage_answer(provider: Provider, call: Call) -> Any:
    provider.apply_all(call)
    call.doubt()
    return provider.rng.choice([None, "ok", {"status": "ok"}, 7])


def crash(provider: Provider, call: Call) -> Any:
    if provider.rng.random() < 0.5:
        provider.carry_out(call)
    call.doubt()
    raise KeyError("results")


def shuffled_answer(provider: Provider, call: Call) -> Any:
    """The answer is in an order of its own, and its entries name their records."""
    return _correlated(provider, call, 0.0)


def entries_missing(provider: Provider, call: Call) -> Any:
    """The answer is in an order of its own, and says nothing of some records."""
    return _correlated(provider, call, 0.2)


def _correlated(provider: Provider, call: Call, dropped: float) -> Any:
    verdicts = provider.apply_all(call)
    entries = [{"tag": each.tag, "verdict": verdict} for each, verdict in zip(call.carried, verdicts, strict=True)]
    kept = [entry for entry in entries if provider.rng.random() >= dropped]
    told = {entry["tag"] for entry in kept}
    for submission in call.carried:
        if submission.tag not in told:
            submission.doubted, submission.absent = True, False
    provider.rng.shuffle(kept)
    if provider.raw:
        return [entry["verdict"] for entry in kept]
    request = Request("any", WriteType.CREATE, tuple(Item(b'{"tag":%d}' % each.tag) for each in call.carried))
    return by_key(kept, request, _fate, key="tag", item_key="tag")


def _fate(entry: dict[str, Any]) -> Any:
    verdict = entry["verdict"]
    return Written(data=verdict) if isinstance(verdict, int) else verdict


FAULTS: dict[str, Fault] = {
    "reset before": reset_before,
    "reset after": reset_after,
    "reset, applied late": reset_applied_late,
    "answer lost": answer_lost,
    "no connection": no_connection,
    "busy": busy,
    "429": too_many,
    "429 with Retry-After": too_many_until,
    "records busy": records_busy,
    "short answer": short_answer,
    "long answer": long_answer,
    "garbage answer": garbage_answer,
    "crash": crash,
    "shuffled answer": shuffled_answer,
    "entries missing": entries_missing,
}

# What is no matter of a call's answer: it takes time, or lies in the state of the provider or in the record.
OTHER_FAULTS = (
    "hangs",  # until it is cancelled
    "stubborn",  # hangs, and ignores that it is cancelled for a while
    "cut off",  # cancelled from our side
    "cut off, applied all the same",
    "over quota",  # of the provider, who answers 429 with Retry-After
    "over quota, silently",  # the same without
    "down",  # for everybody, at once
    "slow in a brown-out",
    "failed in a brown-out",
    "tenant hangs",
    "tenant unavailable",
    "tenant without connection",
    "tenant revoked",  # its credentials
    "too many records in a call",
    "too many records in a call, and it says so",
    "row locked",
    "bad record",
    "bad record, the call refused and it named",
    "bad record, the call refused",
    "bad member of a group",
    "duplicate",
    "no answer to a question",
)
