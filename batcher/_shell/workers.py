"""The worker pool: the tasks that make the calls, and the timeouts of these."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Hashable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio

from batcher._core.batches import Batch
from batcher._core.sound import sound
from batcher._shell.backend.waiters import AwaitableWaiter, Backend, in_cancelled_scope
from batcher._shell.hooks import Around, stops_programs
from batcher._shell.timer import Timer
from batcher.destinations.protocol import Verifier
from batcher.outcomes import Refused, Retry
from batcher.policies import LaneRules, Limits

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


class Sender(Protocol):
    """What the shell needs of a destination."""

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry."""

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Any]:
        """Make one call and return one verdict per item."""


class Owner(Protocol):
    """Whose batches the workers send."""

    def answered(self, batch: Batch, answer: Any, began_at: float) -> None:
        """Take the answer to a call, or what it raised."""


class Call:
    """A call that is out. What its write function has started may outlive it: a connection's reader, say."""

    __slots__ = ("owner",)

    def __init__(self, owner: object) -> None:
        self.owner: object = owner  # until it ends; then None


# The calls that the current task makes, or was started in.
_working: ContextVar[tuple[Call, ...]] = ContextVar("batcher_working_for", default=())
working_for = _working.get

# Turns of the loop until a call is cancelled that is late. If it is the loop that was late, the answer is there, and it
# takes an HTTP client a few turns to read it.
_GRACE = 10


class WorkerPool:
    """As many workers as calls may be out, at most; started when there is a batch and nobody idle, and kept.

    :param timer: of the task that uses :meth:`start_wanted` and :meth:`cancel_late`
    :param around: gives what the hook wants to be open while a call is out
    """

    def __init__(
        self, owner: Owner, backend: Backend, sender: Sender, limits: Limits, timer: Timer, around: Around | None
    ) -> None:
        self.calls_made = 0
        self._owner = owner
        self._now = backend.now
        self._new_waiter = backend.new_waiter
        self._cancellations = backend.cancellations
        self._sender = sender
        self._timer = timer
        self._around = around
        self._max_workers = limits.max_in_flight
        self._call_timeout = limits.call_timeout
        self._batches: deque[Batch] = deque()  # dispatched, and not yet taken by a worker
        self._calls: dict[anyio.CancelScope, tuple[Batch, float]] = {}  # out, in time, and since when
        self._idle: list[AwaitableWaiter] = []  # workers with nothing to do
        self._workers = 0  # started, and to be started
        self._started = 0

    def dispatch(self, batch: Batch) -> None:
        """Have *batch* sent by the next worker that is free."""
        self._batches.append(batch)
        while self._idle:
            worker = self._idle.pop()
            if not worker.done():
                worker.set_result(None)
                return
        # One for each call that may be out is enough: the one that has just ended a call comes back for more.
        if self._workers < self._max_workers:
            self._workers += 1
            self._timer.wake()

    def take_unsent(self) -> Iterable[Batch]:
        """Take back the batches that no worker has begun with."""
        unsent, self._batches = self._batches, deque()
        return unsent

    def start_wanted(self, tasks: TaskGroup) -> None:
        """Start the workers that are missing. Not where a batch is dispatched: a task started by a submit would run
        ``write`` in the context variables of whoever happened to fill the batch.
        """
        while self._started < self._workers:
            self._started += 1
            tasks.start_soon(self._work)

    # Timeouts

    def next_timeout(self) -> float:
        """Return when the next call is late."""
        # All calls have the same timeout, so the one that began first is the first to be late.
        began_at = next((began_at for _, began_at in self._calls.values()), inf)
        return began_at + self._call_timeout

    async def give_grace(self) -> None:
        """Give late calls a chance to end by themselves, before they are cancelled."""
        from anyio.lowlevel import checkpoint  # here, where a loop has loaded what it needs

        for _ in range(_GRACE):
            if self.next_timeout() > self._now():
                return
            await checkpoint()

    def cancel_late(self) -> Iterator[tuple[Batch, float, TimeoutError]]:
        """Cancel the calls that take too long; yield what each carries, when it began, and what became of it."""
        while self.next_timeout() <= self._now():
            scope, (batch, began_at) = next(iter(self._calls.items()))
            del self._calls[scope]
            scope.cancel()
            yield batch, began_at, self._timeout_error()

    def _timeout_error(self) -> TimeoutError:
        return TimeoutError(f"the call took longer than {self._call_timeout:g} s and was cancelled")

    # The task of a worker

    async def _work(self) -> None:
        around = working_for()
        while True:
            # One scope for many calls: a scope per call would cost as much as twenty records.
            with anyio.CancelScope() as scope:
                await self._make_calls(scope, around)

    async def _make_calls(self, scope: anyio.CancelScope, around: tuple[Call, ...]) -> None:
        from anyio.lowlevel import checkpoint  # here, where a loop has loaded what it needs

        while not scope.cancel_called:
            if not self._batches:
                waiter = self._new_waiter()
                self._idle.append(waiter)
                if self._batches and not waiter.done():  # a finalizer has filled one just before: this is not idle
                    waiter.set_result(None)
                await waiter
                continue
            batch, began_at = self._batches.popleft(), self._now()
            batch.begun = True
            self.calls_made += 1
            self._calls[scope] = batch, began_at
            if began_at + self._call_timeout < self._timer.armed_at:
                self._timer.wake()
            call = Call(self._owner)
            _working.set((*around, call))
            try:
                answer = await self._call(batch, scope)
            finally:
                call.owner = None
                _working.set(around)
            # If it was late, then whatever it raises says only that it was cut off in the middle.
            if self._calls.pop(scope, None) is None and isinstance(answer, BaseException):
                answer = self._timeout_error()
            self._owner.answered(batch, sound(answer), began_at)
            del batch, answer  # a worker that waits for the next one keeps no records alive
            if self._batches:
                await checkpoint()  # a write that never waits must not keep the loop to itself

    async def _call(self, batch: Batch, scope: anyio.CancelScope) -> Any:
        """Make one call; return its answer, or what it raised."""
        cancellations = self._cancellations()
        try:
            if self._around is None:
                return await self._begin(batch)
            with self._around(batch.attempt.number):
                return await self._begin(batch)
        except (Retry, Refused) as error:
            return error
        except Exception as error:
            return error
        except BaseException as error:
            if stops_programs(error):
                raise
            # A cancellation. It is ours if we are being cancelled; or else it leaked out of the write function.
            late = scope.cancel_called
            if not late and (in_cancelled_scope() or self._cancellations() > cancellations):
                raise
            return error

    def _begin(self, batch: Batch) -> Awaitable[Any]:
        if batch.asks:  # which the sender has said that it can answer
            return cast(Verifier, self._sender).verify(batch.lane.key, batch.records)
        return self._sender.send(batch.lane.key, batch.records, all_or_none=batch.group is not None)
