"""Giving records to the engine, and waiting for a place or for their outcomes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from batcher._core.model.entries import NO_EXTRAS, NOT_ACCEPTED, Entry, Extras
from batcher._core.model.states import State
from batcher._shell.misuse import name_unhashable
from batcher._shell.receipts import Receipt, result_of
from batcher._shell.runtime import Runtime
from batcher._shell.steps import IN_STEP, NOWHERE
from batcher.errors import InvalidRecord, Overloaded
from batcher.outcomes import NotWritten, Outcome, Rejected
from batcher.policies import Seconds, to_seconds

AnyReceipt = TypeVar("AnyReceipt", bound=Receipt[Any])
Runs: TypeAlias = Iterable[tuple[Hashable, int]]
"""How many of a list of records follow each other in which lane."""

# For a record that was not accepted: among many that is an outcome like any other.
_CLOSED: Final = NotWritten("the batcher closed while the record waited for a place")


def extras_of(runtime: Runtime, identity: Hashable, max_delay: Seconds | None, deadline: Seconds | None) -> Extras:
    """Return what a submit says of its record besides the record."""
    if identity is None and max_delay is None and deadline is None:
        return NO_EXTRAS
    try:
        extras = Extras(identity)
    except TypeError as error:
        raise name_unhashable(error, identity=identity)  # noqa: B904
    if max_delay is not None:
        extras.delay = to_seconds("max_delay", max_delay)
    if deadline is not None:
        extras.expires_at = runtime.now() + to_seconds("deadline", deadline)
    return extras


def accept_now(runtime: Runtime, receipt: AnyReceipt, key: Hashable) -> AnyReceipt:
    """Accept a record, or raise Overloaded. In the middle of a step it is accepted at its end."""
    if runtime.open_in is IN_STEP:
        receipt.state = State.WAITING
        runtime.put_off(partial(_accept_late, runtime, receipt, key))
        return receipt
    runtime.take(receipt, key)
    if receipt.state is State.WAITING:
        why = runtime.engine.why_no_place(receipt)
        runtime.withdraw(receipt)
        raise Overloaded(f"no place is free: {why}; await submit() or enqueue(), or raise the Limits")
    return receipt


def _accept_late(runtime: Runtime, receipt: Receipt[Any], key: Hashable) -> None:
    """Accept a record whose receipt was given before: nobody can be told otherwise than by its outcome."""
    if runtime.gate is NOWHERE:
        runtime.settle_unaccepted(receipt, _CLOSED)
        return
    try:
        runtime.take(receipt, key)
    except InvalidRecord as error:
        runtime.settle_unaccepted(receipt, Rejected((error.detail,)))
    except Exception as error:
        if receipt.state is not State.WAITING:
            raise
        runtime.settle_unaccepted(receipt, NotWritten(error))
    if receipt.state is State.WAITING:
        runtime.withdraw(receipt, f"no place is free: {runtime.engine.why_no_place(receipt)}")


async def accept_in_turn(runtime: Runtime, receipt: AnyReceipt, key: Hashable) -> AnyReceipt:
    """Accept a record as soon as there is a place for it."""
    runtime.take(receipt, key)
    if receipt.state is State.WAITING:
        try:
            await runtime.place_for(receipt)
        except BaseException:
            runtime.abandon((receipt,))
            raise
        if receipt.done and receipt.verdict is NOT_ACCEPTED:
            result_of(receipt)
    return receipt


async def accept_all(runtime: Runtime, entries: Iterable[Entry], runs: Runs) -> list[Outcome]:
    """Accept records that each have a fate of their own, and wait for all of them.

    :param entries: best known to nobody else: each is gone when its outcome is made, so that memory does not grow
    """
    left = list(entries)
    del entries
    refused: dict[Entry, Outcome] = {}
    accepted: list[Entry] = []
    try:
        _accept_runs(runtime, left, runs, accepted, refused)
        await runtime.all_settled(accepted)
    except BaseException:
        runtime.abandon(accepted)
        raise
    del accepted
    outcomes: list[Outcome] = []
    left.reverse()
    while left:
        entry = left.pop()
        outcomes.append(refused[entry] if entry in refused else _fate(entry))
    return outcomes


def _accept_runs(
    runtime: Runtime, entries: Sequence[Entry], runs: Runs, accepted: list[Entry], refused: dict[Entry, Outcome]
) -> None:
    """Give records to the engine, and make due what they open. What becomes of each stands in one of the two."""
    engine, now, step = runtime.engine, runtime.now, runtime.step
    last: dict[Hashable, Entry] = {}
    end = 0
    for key, length in runs:
        start, end, before = end, end + length, len(accepted)
        taken = step(engine.submit_many, entries[start:end], key, now(), entry=entries[start])
        accepted += entries[start : start + taken]
        for entry in entries[start + taken : end]:
            try:
                step(engine.submit, entry, key, now(), entry=entry)  # what that makes necessary is done below
                accepted.append(entry)
            except InvalidRecord as error:
                refused[entry] = Rejected((error.detail,))
        if len(accepted) > before:
            last[key] = accepted[-1]
    for entry in last.values():
        step(engine.complete, entry, now())
    runtime.turn()


async def accept_group(runtime: Runtime, entries: Sequence[Entry], key: Hashable) -> list[Outcome]:
    """Accept an all-or-none group, and wait for it."""
    group, verb = runtime.step(runtime.engine.submit_group, entries, key, runtime.now(), entry=entries[0])
    try:
        runtime.act_on(verb)
        await runtime.all_settled(entries)
    except BaseException:
        runtime.abandon((group,))
        raise
    return list(map(_fate, entries))


def _fate(entry: Entry) -> Outcome:
    fate = entry.fate()
    return _CLOSED if fate is None else fate  # not by its truth: an outcome of the user's own may have a length
