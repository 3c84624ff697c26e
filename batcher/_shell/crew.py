"""The tasks of one batcher: a keeper that watches the clock, and workers that make the calls.

They decide nothing. After every step that may have changed something, :meth:`Crew.turn` asks the
engine what is to be done and does it, in the same step: nothing is queued without somebody awake.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import ContextVar
from math import inf
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import anyio

from batcher._core.engine import Engine
from batcher._core.entries import Batch, Entry, Unit
from batcher._core.states import State
from batcher._core.verbs import Verb
from batcher._shell.backend.current import in_cancelled_scope
from batcher._shell.backend.waiters import AwaitableWaiter, Backend, Waiter
from batcher._shell.receipts import AllSettled, Detached, attach, run_callback
from batcher._shell.reporting import Reporter, log_left_over, log_raise, stops_programs
from batcher.destinations.protocol import Verifier
from batcher.errors import BatcherClosed, BatcherNotOpen, NestedSubmit
from batcher.events import Hook
from batcher.outcomes import Refused, Retry

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


class Sender(Protocol):
    """What the crew needs of a destination."""

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Any]:
        """Make one call and return one verdict per item."""


# The crews whose write functions the current task runs in, or was started from.
_working: ContextVar[tuple[Crew, ...]] = ContextVar("batcher_working_for", default=())
working_for = _working.get

# Where a batcher is open that takes no more records. Not None: that is also what runs where no loop does.
_NOWHERE: Final = object()


class Crew:
    """Everything that waits on behalf of one open batcher. It does not know the Batcher itself, so that
    one that is dropped unclosed can be collected, and warn.
    """

    def __init__(
        self, backend: Backend, engine: Engine, sender: Sender, call_timeout: float, hook: Hook | None
    ) -> None:
        self.engine = engine
        self.backend = backend
        self.open_in: object = backend.loop  # until it closes: submit() asks one thing for every record
        self.running = backend.running
        self.now = backend.now
        self.new_waiter = backend.new_waiter
        self._wake = backend.wake
        self.calls_made = 0
        self.admissions: dict[Unit, AwaitableWaiter] = {}  # who waits for a place, and not for the outcome
        self._sender = sender
        self._call_timeout = call_timeout
        self._reporter = None if hook is None else Reporter(hook)
        # For the reporter, at the end of a turn: calls that ended, and outcomes that no caller sees.
        self._answers: deque[tuple[Batch, float, Any]] = deque()
        self._unseen: deque[Entry] = deque()
        self._breakers_moved = engine.house.breakers.changes  # the same list for ever, and emptied here
        self.callbacks: deque[tuple[Any, Callable[[Any], object]]] = deque()  # of receipts settled in this turn
        self._calling_back = False
        self._batches: deque[Batch] = deque()  # handed out, and not yet taken by a worker
        self._calls: dict[anyio.CancelScope, tuple[Batch, float]] = {}  # out, and since when
        self._late: dict[anyio.CancelScope, tuple[Batch, float]] = {}  # those cancelled because of it
        self._idle: list[AwaitableWaiter] = []  # workers with nothing to do
        self._workers = 0  # hired, and to be hired
        self._most_workers = engine.max_in_flight
        self._wanted = 0  # workers that the keeper is to hire
        self._bell: Waiter | None = None  # wakes the keeper
        self._armed_at = -inf  # when the keeper wakes by itself
        self._drained: AwaitableWaiter | None = None

    # Who may call

    def check_loop(self) -> None:
        """Refuse a caller in another event loop, or in none.

        :raises BatcherNotOpen: always, then
        """
        if self.running() is not self.backend.loop:
            raise BatcherNotOpen(
                f"this batcher was opened in another event loop (on {self.backend.name}); from a thread use "
                "anyio.from_thread.run(batcher.submit, record), in another loop open a batcher of its own"
            )

    def check_may_wait(self, what: str) -> None:
        """Refuse to wait where waiting may never end.

        :raises BatcherNotOpen: in another event loop
        :raises NestedSubmit: inside the write function of this very batcher
        """
        self.check_loop()
        if self in working_for():
            raise NestedSubmit(
                f"{what} inside the write function of the same batcher may wait for itself for ever; "
                "submit_nowait() without awaiting the receipt is fine, and so is a second Batcher"
            )

    def check_open(self) -> None:
        """Refuse new records after closing.

        :raises BatcherClosed: always, then
        """
        if self.open_in is _NOWHERE:
            raise BatcherClosed("the batcher is closing or closed and takes no more records")

    # Doing what the engine says

    def turn(self) -> None:
        """Ask the engine what is to be done, and do it. Nothing here waits."""
        while self._take_turn():
            pass  # a loop, not a recursion: thousands of waiters may be cancelled in one step

    def _take_turn(self) -> bool:
        """Do what is to be done, and return whether the engine must be asked again."""
        again = False
        plan = self.engine.poll(self.now())
        for batch in plan.batches:
            self._hand_out(batch)
        self._wake(plan.settled)
        if self.admissions:
            again = self._give_places((*plan.admitted, *plan.settled))
        if plan.ask_again_at < self._armed_at:
            self._ring()
        if self._drained is not None and self.is_idle() and not self._drained.done():
            self._drained.set_result(None)
        if self._reporter is not None:
            self._tell(self._reporter, plan.batches)
        elif self._breakers_moved:
            self._breakers_moved.clear()
        if self.callbacks and not self._calling_back:
            self._call_back()
        return again

    def _call_back(self) -> None:
        # One that comes back in leaves the callbacks of its own turn to this loop: nested, a thousand of them would
        # exhaust the stack, perhaps in the middle of a step of the engine.
        self._calling_back = True
        try:
            while self.callbacks:
                run_callback(*self.callbacks.popleft())
        finally:
            self._calling_back = False

    def _give_places(self, units: Sequence[Unit]) -> bool:
        """Wake those who have a place now; return whether one was taken back from somebody cancelled meanwhile."""
        taken_back = False
        for unit in units:
            place = self.admissions.pop(unit, None)
            if place is None:
                continue
            if not place.done():
                place.set_result(None)
            else:
                taken_back |= self.engine.withdraw(unit, self.now())
        return taken_back

    def _tell(self, reporter: Reporter, dispatched: Sequence[Batch]) -> None:
        while self._answers:
            reporter.answered(*self._answers.popleft())
        while self._breakers_moved:
            key, of_all, state = self._breakers_moved.pop(0)
            if of_all:
                reporter.breaker(state, scope="destination")
            else:
                reporter.breaker(state, key=key)
        for batch in dispatched:
            reporter.dispatched(batch)
        while self._unseen:
            reporter.detached(self._unseen.popleft())

    def obey(self, verb: Verb) -> None:
        """Do what a submit has made necessary."""
        if verb is Verb.CLOCK:
            if self.engine.next_at < self._armed_at:
                self._ring()
        elif verb is not Verb.NOTHING:
            self.turn()

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def _hand_out(self, batch: Batch) -> None:
        self._batches.append(batch)
        while self._idle:
            worker = self._idle.pop()
            if not worker.done():
                worker.set_result(None)
                break
        else:
            # One for each call that may be out is enough: the one that has just ended a call comes back for more.
            if self._workers < self._most_workers:
                self._workers += 1
                self._wanted += 1
                self._ring()

    # The tasks

    async def keep(self, tasks: TaskGroup) -> None:
        """Watch the clock, and hire workers.

        The keeper hires because it runs in the context of the ``async with``: a task started by a submit
        would run ``write`` in the context variables of whoever happened to fill the batch.
        """
        while True:
            # No await between these lines: a submit sees either the bell or the earlier time.
            while self._wanted:
                self._wanted -= 1
                tasks.start_soon(self._work)
            self._bell = bell = self.new_waiter()
            self._armed_at = min(self.engine.next_at, self._next_timeout())
            with anyio.CancelScope(deadline=self._armed_at):
                await bell
            self._time_out()
            self.turn()

    def _next_timeout(self) -> float:
        # All calls have the same timeout, so the one that began first is the first to be late.
        began_at = next((began_at for _, began_at in self._calls.values()), inf)
        return began_at + self._call_timeout

    def _time_out(self) -> None:
        while self._next_timeout() <= self.now():
            scope, (batch, began_at) = next(iter(self._calls.items()))
            self._late[scope] = self._calls.pop(scope)
            scope.cancel()
            now, error = self.now(), self._timeout_error()
            if self.engine.give_up_on(batch, error, now):
                self._note_answer(batch, now - began_at, error)

    def _timeout_error(self) -> TimeoutError:
        return TimeoutError(f"the call took longer than {self._call_timeout:g} s and was cancelled")

    async def _work(self) -> None:
        _working.set((*working_for(), self))
        while True:
            # One scope for many calls: a scope per call would cost as much as twenty records.
            with anyio.CancelScope() as scope:
                await self._make_calls(scope)

    async def _make_calls(self, scope: anyio.CancelScope) -> None:
        from anyio.lowlevel import checkpoint  # here, where a loop has loaded what it needs

        while not scope.cancel_called:
            if not self._batches:
                waiter = self.new_waiter()
                self._idle.append(waiter)
                await waiter
                continue
            batch, began_at = self._batches.popleft(), self.now()
            self.calls_made += 1
            self._calls[scope] = batch, began_at
            if began_at + self._call_timeout < self._armed_at:
                self._ring()
            answer = await self._call(batch, scope)
            if self._calls.pop(scope, None) is None:
                del self._late[scope]
                if isinstance(answer, BaseException):  # whatever it says, it was cut off in the middle
                    answer = self._timeout_error()
            self._answered(batch, answer, began_at)
            del batch, answer  # a worker that waits for the next one keeps no records alive
            if self._batches:
                await checkpoint()  # a write that never waits must not keep the loop to itself

    async def _call(self, batch: Batch, scope: anyio.CancelScope) -> Any:
        """Make one call; return its answer, or what it raised."""
        cancellations = self.backend.cancellations()
        try:
            if self._reporter is None:
                return await self._begin(batch)
            with self._reporter.around(batch):
                return await self._begin(batch)
        except (Retry, Refused) as error:
            return error
        except Exception as error:
            log_raise(error, len(batch.entries))
            return error
        except BaseException as error:
            if stops_programs(error):
                raise
            # A cancellation. It is ours if we are being cancelled; or else it leaked out of the write function.
            late = scope.cancel_called
            if not late and (in_cancelled_scope() or self.backend.cancellations() > cancellations):
                raise
            return error

    def _begin(self, batch: Batch) -> Awaitable[Any]:
        if batch.asks:  # which the sender has said that it can answer
            return cast(Verifier, self._sender).verify(batch.lane.key, batch.records)
        return self._sender.send(batch.lane.key, batch.records, all_or_none=batch.group is not None)

    def _answered(self, batch: Batch, answer: Any, began_at: float) -> None:
        given_up = not batch.entries
        now = self.now()
        self.engine.settle(batch, answer, now, random())
        if not given_up:
            self._note_answer(batch, now - began_at, answer)
        self.turn()

    def _note_answer(self, batch: Batch, seconds: float, answer: Any) -> None:
        if self._reporter is not None:
            self._answers.append((batch, seconds, answer))

    # Ending

    def is_idle(self) -> bool:
        """Return whether every accepted record has its outcome. A call that was given up on may still be out."""
        return not self.engine.pending

    async def drain(self, timeout: float) -> None:
        """Close the gate, make everything due, and wait until all is settled or the time is up."""
        now = self.now()
        self.open_in = _NOWHERE
        self.engine.close(now, now + timeout)
        self.turn()
        with anyio.CancelScope(deadline=now + timeout):
            while not self.is_idle():
                self._drained = self.new_waiter()
                await self._drained

    def abort(self, cause: str) -> None:
        """Settle whatever is left at once."""
        self.open_in = _NOWHERE
        unsent = list(self._batches)
        self._batches.clear()
        before = self.engine.outcomes()
        self.engine.abort(self.now(), cause, unsent)
        left = self.engine.outcomes() - before
        log_left_over(cause, left["unknown"], left["not_written"])
        self._turn_to_the_end()

    def _turn_to_the_end(self) -> None:
        # No turn follows that would tell the rest, if a hook or a callback ends the program in the middle of this one.
        # Each that does so is told of its event once, so this ends.
        first: BaseException | None = None
        while True:
            try:
                self.turn()
                break
            except BaseException as error:
                if not stops_programs(error):
                    raise
                first = first or error
        if first is not None:
            raise first

    def cut_off(self) -> None:
        """Tell the hook of the batches whose end nobody will see, because the tasks have ended."""
        if self._reporter is not None:
            self._reporter.cut_off(self.now())

    async def place_for(self, unit: Unit) -> None:
        """Wait until *unit* has its place, or is settled without one. If cancelled, :meth:`abandon` it."""
        if unit.state is State.WAITING:
            self.admissions[unit] = place = self.new_waiter()
            await place

    async def wait_for(self, all_settled: AllSettled) -> None:
        """Wait until all records of *all_settled* have their outcomes."""
        if not all_settled.over:
            waiter = self.new_waiter()
            all_settled.add(waiter)
            await waiter

    def withdraw(self, unit: Unit) -> bool:
        """Take a unit back, if no call carries it."""
        withdrawn = self.engine.withdraw(unit, self.now())
        self.turn()
        return withdrawn

    def abandon(self, units: Sequence[Unit]) -> None:
        """The caller of these was cancelled: withdraw what can be, and see the rest to its end."""
        for unit in units:
            if unit.state is not State.SETTLED and self.engine.withdraw(unit, self.now()):
                continue
            if self._reporter is None:
                continue
            for entry in unit.members:
                if entry.state is State.SETTLED:  # in the very turn in which its caller was cancelled
                    self._unseen.append(entry)
                else:
                    attach(entry, Detached(self._unseen, entry))
        self.turn()
