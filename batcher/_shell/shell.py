"""The shell: opens, accepts, waits, and closes. It decides nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import attrs

from batcher._core.engine import Engine
from batcher._core.entries import NO_EXTRAS, NOT_ACCEPTED, Entry, Extras
from batcher._core.states import State
from batcher._shell.backend.current import current_backend
from batcher._shell.crew import Crew, Sender
from batcher._shell.hooks import as_hook, capture_of
from batcher._shell.receipts import AllSettled, Receipt, result_of
from batcher.errors import BatcherError, BatcherNotOpen, InvalidRecord, Overloaded
from batcher.events import Hook
from batcher.outcomes import NotWritten, Outcome, Rejected, Written
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy, Seconds, to_seconds

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


_numbers = count(1)  # of batches, in the whole process: several batchers may share a hook


@attrs.frozen(kw_only=True)
class Statistics:
    """What a batcher has done and holds, at one moment."""

    accepted: int
    """Records taken in so far: settled ones and pending ones."""
    settled: int
    """Records that have their outcome."""
    pending: int
    """Records accepted and without outcome: buffered, in flight, backing off, or behind another write."""
    pending_bytes: int
    """Their encoded size; 0 without sizes."""
    waiting: int
    """Submits that wait for a place; a group counts once. Not accepted yet."""
    in_flight: int
    """Calls out at this moment."""
    in_flight_limit: int
    """Calls that all lanes together may have out: ``Limits.max_in_flight``, or less while the destination struggles."""
    open_breakers: int
    """Circuit breakers, of lanes and of the destination, that are open or try a record."""
    calls: int
    """Calls made so far, retries and the search for culprits included."""
    lanes: int
    """Lanes that hold a record, a call or a pause."""
    outcomes: Mapping[str, int]
    """Settled records by outcome kind, for example ``{"written": 9990, "rejected": 10}``."""


class Shell:
    """What a Batcher and a Writer have in common."""

    def __init__(
        self,
        sender: Sender,
        rules_of: Callable[[Hashable], LaneRules],
        *,
        auto_batch: AutoBatchPolicy | None,
        retry: RetryPolicy | None,
        limits: Limits | None,
        on_event: Hook | Sequence[Hook] | None,
        atomic: bool = False,
    ) -> None:
        for name, value, expected in (
            ("auto_batch", auto_batch, AutoBatchPolicy),
            ("retry", retry, RetryPolicy),
            ("limits", limits, Limits),
        ):
            if value is not None and not isinstance(value, expected):
                raise TypeError(f"{name} must be {expected.__name__}(...), not {type(value).__name__}")
        self._sender = sender
        self._limits = limits or Limits()
        self._on_event = as_hook(on_event)
        self._capture = capture_of(self._on_event)
        self._engine = Engine(
            auto_batch or AutoBatchPolicy(),
            retry or RetryPolicy(),
            self._limits,
            rules_of,
            atomic=atomic,
            numbers=_numbers,
        )
        self._crew: Crew | None = None
        self._tasks: TaskGroup | None = None
        self._entered = False
        self._open = False
        # The last flush: what had been accepted by then, and who waits for that. Flushes of the same share it.
        self._flushed = -1, AllSettled(())

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Start the batcher in the running event loop.

        :raises BatcherNotOpen: entered before; a batcher lives once
        """
        self._enter_once()
        await self._start()
        return self

    async def _start(self) -> None:
        crew = Crew(current_backend(), self._engine, self._sender, self._limits.call_timeout, self._on_event)
        self._crew = crew
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(crew.keep, self._tasks, name="batcher")
        self._open = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Drain, or settle at once if the host is cancelled; then end the tasks.

        The body's exception leaves as it is, never wrapped in a group.
        """
        crew, tasks = self._crew, self._tasks
        assert crew is not None and tasks is not None
        interruption = None if isinstance(error, Exception) else error
        try:
            if interruption is None:
                await crew.drain(self._limits.shutdown_timeout)
        except BaseException as late:  # the host is cancelled while it drains
            interruption = late
        out_of_time = f"the shutdown timeout of {self._limits.shutdown_timeout:g} s passed"
        try:
            crew.abort(out_of_time if interruption is None else "the batcher was cancelled")
        except BaseException as ending:  # a hook or a callback ends the program; the tasks are to end before
            interruption = ending
        self._open = False
        crashed = tasks.cancel_scope.cancel_called  # by one of our own tasks that ended, unasked
        tasks.cancel_scope.cancel()
        try:
            swallowed = await self._leave(tasks, error, interruption)
        finally:
            crew.cut_off()
        if crashed and swallowed:
            raise BatcherError("a task of the batcher was cancelled from outside, and the body with it")
        return swallowed

    async def _leave(
        self, tasks: TaskGroup, error: BaseException | None, interruption: BaseException | None
    ) -> bool | None:
        kind = None if interruption is None else type(interruption)
        trace = None if interruption is None else interruption.__traceback__
        try:
            swallowed = await tasks.__aexit__(kind, interruption, trace)
        except BaseExceptionGroup as group:
            # Our tasks turn errors into outcomes, so there is one at most: an interrupt or a bug, or
            # the body's own, wrapped on its way. The task group is our affair: hand it on bare. On trio it comes
            # with the cancellations of our tasks, if the host is cancelled as well.
            cancelled = anyio.get_cancelled_exc_class()
            others = [each for each in group.exceptions if not isinstance(each, cancelled)] or group.exceptions
            if len(others) != 1:
                raise
            only = others[0]
            context = only.__context__
            try:
                raise only
            finally:
                only.__context__ = context  # not the group that it came out of
        return swallowed if interruption is not None else False

    def __del__(self) -> None:
        if getattr(self, "_open", False):
            way_out = f"use it as 'async with {type(self).__name__}(...)'"
            warnings.warn(f"unclosed {self!r}: {way_out}", ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        state = "open" if self._open else "closed" if self._crew is not None else "not entered"
        engine = self._engine
        return f"<{type(self).__name__} {state}: {engine.pending} pending, {engine.in_flight} in flight>"

    def _enter_once(self) -> None:
        if self._entered:
            raise BatcherNotOpen(
                f"this {type(self).__name__} was entered before; it lives once, in one event loop: make a new one"
            )
        self._entered = True

    # Accepting

    def _opened(self, what: str, *, waits: bool = True) -> Crew:
        """Return the crew, if *what* may be called here and now."""
        crew = self._crew
        if crew is None:
            raise BatcherNotOpen(f"{what} before entering: use it inside 'async with {type(self).__name__}(...)'")
        crew.check_loop()
        if waits:
            crew.check_may_wait(what)
        crew.check_open()
        return crew

    def _extras(self, crew: Crew, identity: Hashable, max_delay: Seconds | None, deadline: Seconds | None) -> Extras:
        if identity is None and max_delay is None and deadline is None:
            return NO_EXTRAS
        extras = Extras(identity)
        if max_delay is not None:
            extras.delay = to_seconds("max_delay", max_delay)
        if deadline is not None:
            extras.expires_at = crew.now() + to_seconds("deadline", deadline)
        return extras

    def _link(self, receipts: Iterable[Receipt[Any]]) -> None:
        """Note what the hook captures where records are submitted, if it does."""
        if self._capture is not None:
            for receipt in receipts:
                receipt.link = self._capture()

    def _accept(self, crew: Crew, receipt: Receipt[Any], key: Hashable) -> None:
        """Give a record to the engine, and do what that makes necessary."""
        if self._capture is not None:
            receipt.link = self._capture()
        crew.obey(self._engine.submit(receipt, key, crew.now()))

    def _accept_now(self, crew: Crew, receipt: Receipt[Any], key: Hashable) -> None:
        self._accept(crew, receipt, key)
        if receipt.state is State.WAITING:
            admission = self._engine.house.admission
            why = admission.in_the_way(receipt.lane, 1, receipt.size)
            crew.withdraw(receipt)
            raise Overloaded(
                f"no place is free: {why}; {admission.pending} records are pending in all and {len(admission)} submits "
                "wait; await submit() or enqueue(), or raise the Limits"
            )

    async def _accept_in_turn(self, crew: Crew, receipt: Receipt[Any], key: Hashable) -> None:
        self._accept(crew, receipt, key)
        if receipt.state is State.WAITING:
            try:
                await crew.place_for(receipt)
            except BaseException:
                crew.abandon((receipt,))
                raise
            if receipt.done and receipt.verdict is NOT_ACCEPTED:
                result_of(receipt)

    async def _accept_all(
        self, crew: Crew, entries: Iterable[Entry], runs: Iterable[tuple[Hashable, int]]
    ) -> list[Outcome]:
        """Accept records that each have a fate of their own, and wait for all of them.

        :param entries: best known to nobody else: each is gone when its outcome is made, so that memory does not grow
        :param runs: how many of *entries* follow each other in which lane
        """
        left = list(entries)
        del entries
        refused: dict[Entry, Outcome] = {}
        accepted: list[Entry] = []
        try:
            self._accept_runs(crew, left, runs, accepted, refused)
            await crew.wait_for(AllSettled(accepted))
        except BaseException:
            crew.abandon(accepted)
            raise
        del accepted
        outcomes: list[Outcome] = []
        left.reverse()
        while left:
            entry = left.pop()
            outcomes.append(refused[entry] if entry in refused else _fate(entry))
        return outcomes

    def _accept_runs(
        self,
        crew: Crew,
        entries: Sequence[Entry],
        runs: Iterable[tuple[Hashable, int]],
        accepted: list[Entry],
        refused: dict[Entry, Outcome],
    ) -> None:
        """Give records to the engine, and make due what they open. What becomes of each stands in one of the two."""
        engine, now = self._engine, crew.now
        last: dict[Hashable, Entry] = {}
        end = 0
        for key, length in runs:
            start, end, before = end, end + length, len(accepted)
            taken = engine.submit_many(entries[start:end], key, now())
            accepted += entries[start : start + taken]
            for entry in entries[start + taken : end]:
                try:
                    engine.submit(entry, key, now())  # what it makes necessary is done below, once for all
                    accepted.append(entry)
                except InvalidRecord as error:
                    refused[entry] = Rejected((error.detail,))
            if len(accepted) > before:
                last[key] = accepted[-1]
        for entry in last.values():
            engine.complete(entry, now())
        crew.turn()

    async def _accept_group(self, crew: Crew, entries: Sequence[Entry], key: Hashable) -> list[Outcome]:
        """Accept an all-or-none group, and wait for it."""
        group, verb = self._engine.submit_group(entries, key, crew.now())
        crew.obey(verb)
        try:
            await crew.wait_for(AllSettled(entries))
        except BaseException:
            crew.abandon((group,))
            raise
        return list(map(_fate, entries))

    # Waiting

    async def flush(self) -> None:
        """Make everything accepted so far due, and wait until each of it has its outcome.

        It overrides no pause and no backoff, and covers no record that still waits for a place.
        """
        crew = self._opened("flush()")
        flushed, all_settled = self._flushed
        if flushed != self._accepted:
            self._engine.flush(crew.now())
            all_settled = AllSettled(self._engine.pending_entries())
            self._flushed = self._accepted, all_settled
            crew.turn()
        await crew.wait_for(all_settled)

    @property
    def _accepted(self) -> int:
        return self._engine.house.outcomes.total() + self._engine.pending

    def statistics(self) -> Statistics:
        """Return what the batcher has done and holds right now."""
        house = self._engine.house
        settled = house.outcomes.total()
        return Statistics(
            accepted=self._accepted,
            settled=settled,
            pending=house.admission.pending,
            pending_bytes=house.admission.pending_bytes,
            waiting=len(house.admission),
            in_flight=len(house.in_flight),
            in_flight_limit=int(house.allowance.limit),
            open_breakers=house.breakers.open,
            calls=self._crew.calls_made if self._crew is not None else 0,
            lanes=len(house.lanes),
            outcomes=dict(house.outcomes),
        )


def _fate(entry: Entry) -> Outcome:
    """Return the outcome of a settled record, one among many."""
    verdict: Outcome | Any = entry.verdict
    if not isinstance(verdict, Outcome):
        return Written(data=verdict)
    if verdict is NOT_ACCEPTED:  # because the batcher closed; among many that is an outcome like any other
        return NotWritten("the batcher closed while the record waited for a place")
    return verdict
