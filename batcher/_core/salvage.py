"""Salvage: everybody gets an outcome, in whatever state everything is.

For a step that was cut off in the middle: counts may be wrong, and records in two places, or in the hands of the step.
Nothing is believed here but where records are found, and the state of each.
"""

from __future__ import annotations

from collections.abc import Iterator

from batcher._core.accumulator import Accumulator
from batcher._core.model.entries import NOT_ACCEPTED, Entry, Unit
from batcher._core.model.states import State
from batcher._core.retries import not_sent
from batcher._core.timings import leaves_uncalled, was_accepted
from batcher._core.verbs import NO_PLAN
from batcher.outcomes import Outcome, Unknown


def salvage(accumulator: Accumulator, now: float, cause: str, *, maybe: bool = False) -> list[Entry]:
    """Settle whatever is found, and forget it.

    :param maybe: any of them may have been applied
    :returns: all that were found, those that had their outcome before as well: perhaps nobody was told
    """
    called = {id(entry) for batch in accumulator.in_flight if batch.begun for entry in batch.entries}
    called.update(map(id, accumulator.answered.entries if accumulator.answered is not None else ()))
    found = {id(entry): entry for entry in _everything(accumulator)}
    for entry in found.values():
        if entry.state is not State.SETTLED:
            was_sent = entry.state is State.IN_FLIGHT and id(entry) in called
            _settle(accumulator, entry, now, cause, maybe=maybe or was_sent)
    _forget(accumulator)
    return list(found.values())


def _settle(accumulator: Accumulator, entry: Entry, now: float, cause: str, *, maybe: bool) -> None:
    verdict: Outcome
    if entry.state is State.WAITING:
        verdict = NOT_ACCEPTED
    else:
        verdict = Unknown(cause) if maybe else not_sent(entry, cause)
        if not was_accepted(entry):
            leaves_uncalled(entry, entry.lane, now)
        accumulator.outcomes[verdict.kind] += 1
    entry.verdict = verdict
    entry.state = State.SETTLED


def _everything(accumulator: Accumulator) -> Iterator[Entry]:
    """Yield all that is anywhere, some of it more than once."""
    yield from accumulator.settled
    yield from accumulator.plan.settled
    yield from accumulator.in_hand
    for batch in (*accumulator.in_flight, accumulator.answered):
        if batch is not None:
            yield from batch.sent
    for lane in accumulator.lanes.by_key.values():
        yield from lane.queue.leaving
        yield from lane.queue.entries
        yield from lane.sealed.everything()
    for unit in _units(accumulator):
        yield from unit.members


def _units(accumulator: Accumulator) -> Iterator[Unit]:
    if accumulator.admission.in_hand is not None:
        yield accumulator.admission.in_hand
    yield from accumulator.admitted
    yield from accumulator.admission.waiters()
    yield from accumulator.identities.units()
    for backoff in accumulator.backoffs:
        yield from backoff.units


def _forget(accumulator: Accumulator) -> None:
    for table in (
        accumulator.in_flight,
        accumulator.lanes.by_key,
        accumulator.backoffs,
        accumulator.admission.queues,
        accumulator.identities.queues,
        accumulator.scheduler.filling,
    ):
        table.clear()
    accumulator.settled, accumulator.admitted = [], []
    accumulator.plan, accumulator.in_hand, accumulator.answered = NO_PLAN, (), None
    admission = accumulator.admission
    admission.pending = admission.pending_bytes = 0
