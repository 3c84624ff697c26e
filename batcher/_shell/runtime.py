"""What runs on behalf of one open batcher: after each step it asks the engine what is to be done, and does it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from random import random
from typing import TYPE_CHECKING, Any, Final

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.breakers import GOOD, Signal
from batcher._core.model.entries import Entry, Unit
from batcher._core.model.states import State
from batcher._core.verbs import Plan, Verb
from batcher._shell import forks
from batcher._shell.backend.waiters import AwaitableWaiter, Backend, Waiter
from batcher._shell.callbacks import Callbacks
from batcher._shell.complaints import Complaints
from batcher._shell.hooks import around_of
from batcher._shell.reporting import Reporter
from batcher._shell.steps import IN_STEP, NOWHERE, Steps
from batcher._shell.timer import Timer
from batcher._shell.undelivered import WITHDRAWN, OnUndelivered, Undelivered
from batcher._shell.waiting import AllSettled, Note, attach, forsake
from batcher._shell.workers import Sender, WorkerPool, working_for
from batcher.errors import BatcherNotOpen, NestedSubmit
from batcher.events import Hook
from batcher.outcomes import Outcome
from batcher.policies import Limits

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

NOTHING: Final = Verb.NOTHING  # a lookup less for every record
_CLOCK: Final = Verb.CLOCK


class Runtime(Steps):
    """Carries out what the engine decides, and lets callers wait. It does not know the Batcher itself, so that
    one that is dropped unclosed can be collected, and warn.

    After every step that may have changed something, :meth:`turn` asks the engine what is to be done and does it, in
    the same step: nothing is queued without somebody awake.
    """

    def __init__(
        self,
        backend: Backend,
        engine: Engine,
        sender: Sender,
        limits: Limits,
        hook: Hook | None,
        on_undelivered: OnUndelivered | None = None,
    ) -> None:
        self.engine = engine
        super().__init__(backend.loop, backend.new_waiter)
        self.running = backend.running
        self.now = backend.now
        self.callbacks = Callbacks(self.go_on_soon)  # of receipts settled in this turn
        self.reporter = None if hook is None else Reporter(hook)
        self.complaints = Complaints(backend.now, sender, hook, self.callbacks.append)
        self.undelivered = Undelivered(on_undelivered, self.complaints, self.callbacks.append)
        self._accumulator = engine.accumulator
        self._backend = backend
        self._wake = backend.wake
        self._timer = Timer(backend.new_waiter)
        self.workers = WorkerPool(self, backend, sender, limits, self._timer, around_of(hook))
        self._places: dict[Unit, AwaitableWaiter] = {}  # who waits for a place, and not for the outcome
        self._breakers_moved = engine.breaker_changes  # the same list for ever, and emptied here
        self.forked = False  # this process is a child of the one that has opened it
        forks.watch(self)
        self._stopped = False
        self._alarms: dict[Callable[[], object], float] = {}  # what is to be done at a time, unless it is taken out

    # Who may call

    def check_loop(self) -> None:
        """Raise BatcherNotOpen in another event loop, or in none, or in another process."""
        if self.forked:
            raise BatcherNotOpen(forks.WORDS)
        if self.running() is not self._backend.loop:
            raise BatcherNotOpen(
                f"this batcher was opened in another event loop (on {self._backend.name}); from a thread use "
                "anyio.from_thread.run(batcher.submit, record), in another loop open a batcher of its own"
            )

    def check_may_wait(self, what: str) -> None:
        """Raise BatcherNotOpen there, too, and NestedSubmit inside the write function of this very batcher."""
        self.check_loop()
        if any(call.owner is self for call in working_for()):
            raise NestedSubmit(
                f"{what} inside the write function of the same batcher may wait for itself for ever; "
                "submit_nowait() without awaiting the receipt is fine, and so is a second Batcher"
            )

    # Doing what the engine says

    async def run(self, tasks: TaskGroup) -> bool:
        """Watch the clock, and start workers, until :meth:`stop`; return whether it was that which ended this."""
        while not self._stopped:
            if self.open_in is IN_STEP:  # but none can be under way here: one was cut off where it was to end
                self.cut_off(InterruptedError())
            if self.broken is not None:
                if self.forked:
                    self.salvage(forks.WORDS, maybe=True)  # the parent sees to them
                self.turn()  # what was put off is told as well
                return False
            self._timer.get_ready()
            if self._put_off or self.callbacks:  # from before this had begun
                self.turn()
            self.workers.start_wanted(tasks)
            alarm_at = min(self._alarms.values(), default=inf)
            await self._timer.sleep_until(min(self.engine.next_at, self.workers.next_timeout(), alarm_at))
            for action in [action for action, at in self._alarms.items() if at <= self.now()]:
                del self._alarms[action]
                action()
            await self.workers.give_grace()
            for batch, began_at, error in self.workers.cancel_late():
                now = self.now()
                if self.step(self.engine.give_up_on, batch, error, now):
                    self._complain_of(batch, None, Signal(failure=error))
                    if self.reporter is not None:
                        self.reporter.answers.append((batch, now - began_at, error))
            self.turn()
        self.turn()  # what was put off, and callbacks of records that were settled before
        return True

    def stop(self) -> None:
        """Have :meth:`run` return."""
        self._stopped = True
        self._timer.wake()

    def go_on_soon(self) -> None:
        """Have :meth:`run` make a turn."""
        self._timer.wake()

    def note_fork(self) -> None:
        """Do nothing any more that the parent does: we are in a child."""
        self.forked = True
        self.gate = self.open_in = NOWHERE
        self.broken = BatcherNotOpen(forks.WORDS)
        with suppress(Exception):  # another thread may have forked
            self._timer.wake()

    def salvage(self, cause: str, *, maybe: bool = False) -> None:
        """Settle everything, and wake everybody."""
        self.complaints.ended_by = cause
        found = self.engine.salvage(self.now(), cause, maybe=maybe)
        if not self.forked:  # else they are the parent's
            self.undelivered.look_at(found)
        self._wake(found)
        for waiter in self._places.values():
            if not waiter.done():
                waiter.set_result(None)

    def take(self, entry: Entry, key: Hashable) -> None:
        """Give a record to the engine, and do what that makes necessary."""
        verb = self.step(self.engine.submit, entry, key, self.now(), entry=entry)
        try:
            self.act_on(verb)
        except BaseException as error:
            self.cut_off(error)
            raise

    def act_on(self, verb: Verb) -> None:
        """Do what a submit has made necessary."""
        if verb is _CLOCK:
            if self.engine.next_at < self._timer.armed_at:
                self._timer.wake()
        elif verb is not NOTHING:
            self.turn()

    def answered(self, batch: Batch, answer: Any, began_at: float) -> None:
        """Take the answer to a call, or what it raised."""
        if self.broken is not None:
            return
        now = self.now()
        signal = self.step(self.engine.settle, batch, answer, now, random())  # noqa: S311  # jitter, not a secret
        if signal is not GOOD or isinstance(answer, Exception):
            self._complain_of(batch, answer, signal)
        if self.reporter is not None and batch.entries:  # else it was given up on
            self.reporter.answers.append((batch, now - began_at, answer))
        self.turn()

    def turn(self) -> None:
        """Ask the engine what is to be done, and do it. Nothing here waits."""
        again = True
        while again:  # a loop, not a recursion: thousands of waiters may be cancelled in one step
            self.catch_up()
            if self.broken is not None:
                return
            plan, again = self.step(self._do_what_is_to_be_done)
            if self._breakers_moved:
                self._complain_of_breakers()
            if self.reporter is not None:
                self.reporter.tell(plan.batches, self._breakers_moved)
            if self.callbacks:
                self.callbacks.call()

    def _do_what_is_to_be_done(self) -> tuple[Plan, bool]:
        plan = self.engine.poll(self.now())
        for batch in plan.batches:
            self.workers.dispatch(batch)
        if self._accumulator.failed:
            self._accumulator.failed = False
            self.undelivered.look_at(plan.settled)
        self._wake(plan.settled)
        again = False
        if self._places:
            again = self._give_places((*plan.admitted, *plan.settled))
        if plan.ask_again_at < self._timer.armed_at:
            self._timer.wake()
        self.engine.done()
        return plan, again

    def _complain_of(self, batch: Batch, answer: Any, signal: Signal | None) -> None:
        if answer is not None and not batch.entries:
            return  # it was given up on, and that was said then
        last = next(reversed(self._accumulator.backoffs), None)
        at = None if last is None or last.lane is not batch.lane else last.at
        if self._accumulator.failed:  # those it has settled are looked at next
            self.complaints.told = batch.attempt
        self.complaints.call(batch, answer, signal, at)

    def _complain_of_breakers(self) -> None:
        now = self.now()
        for change in self._breakers_moved:
            seconds = self._accumulator.breakers.open_until(change) - now
            self.complaints.breaker(change, seconds)
        if self.reporter is None:
            self._breakers_moved.clear()

    def _give_places(self, units: Sequence[Unit]) -> bool:
        """Wake those who have a place now; return whether one was taken back from somebody cancelled meanwhile."""
        taken_back = False
        for unit in units:
            place = self._places.pop(unit, None)
            if place is not None and place.done():
                taken_back |= self.engine.withdraw(unit, self.now())
            elif place is not None:
                place.set_result(None)
        return taken_back

    def finish(self) -> None:
        """Tell what is still to be told. The tasks have ended."""
        if self.reporter is not None:
            self.reporter.cut_off(self.now())
        self.callbacks.append(self.complaints.finish)
        self.callbacks.finish()

    # For those who wait

    async def settled_by(self, until: float) -> None:
        """Wait until all pending records have their outcomes, but not beyond *until*.

        No scope stands in the task that waits: what ends it is a waiter, so nothing of the host is cancelled.
        """
        waiter = self.new_waiter()
        if self.step(lambda: AllSettled(self.engine.pending_entries()).add(waiter)):
            out_of_time = partial(_wake_one, waiter)
            self.call_at(until, out_of_time)
            try:
                await waiter
            finally:
                self._alarms.pop(out_of_time, None)

    def call_at(self, at: float, action: Callable[[], object]) -> None:
        """Have *action* called then."""
        self._alarms[action] = at
        if at < self._timer.armed_at:
            self._timer.wake()

    async def all_settled(self, entries: Iterable[Entry]) -> None:
        """Wait until all *entries* have their outcomes."""
        await self.wait_for(self.step(AllSettled, entries))

    async def wait_for(self, all_settled: AllSettled) -> None:
        """Wait until all that it watches have their outcomes."""
        waiter = self.new_waiter()
        if self.step(all_settled.add, waiter):
            await waiter

    def watch(self, entry: Entry, waiter: Waiter) -> bool:
        """Have *waiter* told when *entry* is settled; return False if it is."""
        return self.step(_attach_if_open, entry, waiter)

    def settle_unaccepted(self, entry: Entry, outcome: Outcome) -> None:
        """Give a record its outcome that was never accepted."""
        entry.verdict = outcome
        entry.state = State.SETTLED
        self.undelivered.look_at((entry,))
        self._wake((entry,))

    async def place_for(self, unit: Unit) -> None:
        """Wait until *unit* has its place, or is settled without one. If cancelled, :meth:`abandon` it."""
        self._places[unit] = place = self.new_waiter()
        await place

    def withdraw(self, unit: Unit, cause: str = WITHDRAWN) -> bool:
        """Take a unit back, if no call carries it. In the middle of a step nobody can say, so then it is not."""
        if self.open_in is IN_STEP:
            return False
        self.catch_up()
        if self.broken is not None:
            return False
        withdrawn = self.step(self.engine.withdraw, unit, self.now(), cause)
        if withdrawn and cause is WITHDRAWN:  # else it is a receipt given before, and nobody is told
            self.undelivered.spare(unit.members)
        self.turn()
        return withdrawn

    def abandon(self, units: Sequence[Unit]) -> None:
        """The caller of these was cancelled: withdraw what can be, and see the rest to its end."""
        if self.open_in is IN_STEP:
            self.put_off(partial(self.abandon, units))
            return
        if self.broken is not None:
            return
        for unit in units:
            late = unit.state is State.SETTLED  # in the very turn in which its caller was cancelled
            withdrawn = not late and self.step(self.engine.withdraw, unit, self.now())
            for entry in unit.members:
                (self.undelivered.missed if late else forsake)(entry)
                if withdrawn or self.reporter is None:
                    continue
                if late:
                    self.reporter.unseen.append(entry)
                else:
                    attach(entry, Note(self.reporter.unseen, entry))
        self.turn()


def _wake_one(waiter: AwaitableWaiter) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _attach_if_open(entry: Entry, waiter: Waiter) -> bool:
    if entry.state is State.SETTLED:
        return False
    attach(entry, waiter)
    return True
