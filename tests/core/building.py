"""Engines and records to order, for the tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Any

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.entries import NO_EXTRAS, Entry, Extras, Lane
from batcher._core.verbs import Plan
from batcher.outcomes import Outcome
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy


def record(
    name: Any = "ada",
    *,
    identity: Hashable | None = None,
    size: int = 0,
    delay: float | None = None,
    expires_at: float = inf,
) -> Entry:
    """A record; a plain one shares its extras with all others, as in the shell."""
    plain = identity is None and delay is None and expires_at == inf
    return make(name, size, NO_EXTRAS if plain else Extras(identity, delay, expires_at))


def make(record: Any, size: int, extras: Extras) -> Entry:
    entry = Entry()
    entry.record, entry.size, entry.waiter, entry.extras = record, size, None, extras
    return entry


def make_engine(
    *,
    retry: RetryPolicy | None = None,
    rules_of: Callable[[Hashable], LaneRules] = lambda key: LaneRules(),
    atomic: bool = False,
    max_records: int = 3,
    max_bytes: int = 10,
    max_delay: float = 5.0,
    **limits: Any,
) -> Engine:
    """An engine whose batches are small: three records, ten bytes, five seconds."""
    policy = AutoBatchPolicy(max_records=max_records, max_bytes=max_bytes, max_delay=max_delay)
    return Engine(policy, retry or RetryPolicy(), Limits(**limits), rules_of, atomic=atomic)


def make_lane(
    *, max_records: int = 3, max_bytes: int = 10, max_delay: float = 5.0, rules: LaneRules | None = None
) -> Lane:
    """A lane outside of any batcher."""
    return Lane("contacts", rules or LaneRules(), max_records, max_bytes, max_delay)


def submit(engine: Engine, *entries: Entry, key: Hashable = "contacts", now: float = 0.0) -> tuple[Entry, ...]:
    """Submit records to one lane, without polling in between."""
    for entry in entries:
        engine.submit(entry, key, now)
    return entries


def dispatched(engine: Engine, now: float = 0.0) -> list[Batch]:
    """Poll, for the batches only."""
    plan = engine.poll(now)
    engine.done()
    return plan.batches


def sent(plan: Plan) -> list[list[Any]]:
    """What the write function would get."""
    return [batch.records for batch in plan.batches]


def send(engine: Engine, now: float = 0.0) -> list[list[Any]]:
    """Poll, and return what the write function would get."""
    return sent(engine.poll(now))


def answer(engine: Engine, batch: Batch, verdicts: Any, now: float = 0.0, jitter: float = 0.0) -> None:
    """End a call."""
    engine.settle(batch, verdicts, now, jitter)


def numbered(count: int, **extras: Any) -> list[Entry]:
    """Records named 0, 1, 2, ..."""
    return [record(index, **extras) for index in range(count)]


def one_batch(engine: Engine, *entries: Entry) -> Batch:
    submit(engine, *entries)
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    return batch


def answered(verdicts: Any, count: int = 2, jitter: float = 0.0, **options: Any) -> tuple[Engine, Batch]:
    """An engine, and its first batch after an answer."""
    engine = make_engine(**options)
    batch = one_batch(engine, *numbered(count))
    answer(engine, batch, verdicts, jitter=jitter)
    return engine, batch


def fates(batch: Batch) -> list[Outcome | None]:
    return [entry.fate() for entry in batch.entries]
