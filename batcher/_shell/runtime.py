"""What runs on behalf of one open batcher: after each step it asks the engine what is to be done, and does it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from random import random
from typing import TYPE_CHECKING, Any, Final

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.breakers import GOOD, Signal
from batcher._core.model.entries import Entry, Unit
from batcher._core.verbs import Plan, Verb
from batcher._shell import forks
from batcher._shell.backend.waiters import Backend
from batcher._shell.callbacks import Callbacks
from batcher._shell.callers import Callers
from batcher._shell.complaints import Complaints
from batcher._shell.hooks import around_of
from batcher._shell.reporting import Reporter
from batcher._shell.steps import IN_STEP, NOWHERE
from batcher._shell.undelivered import OnUndelivered, Undelivered
from batcher._shell.workers import Sender, WorkerPool
from batcher.errors import BatcherNotOpen
from batcher.events import Hook
from batcher.policies import Limits

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

NOTHING: Final = Verb.NOTHING  # a lookup less for every record
_CLOCK: Final = Verb.CLOCK


class Runtime(Callers):
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
        super().__init__(backend, engine)
        self.callbacks = Callbacks(self.go_on_soon)  # of receipts settled in this turn
        self.reporter = None if hook is None else Reporter(hook)
        self.complaints = Complaints(backend.now, sender, hook, self.callbacks.append)
        self.undelivered = Undelivered(on_undelivered, self.complaints, self.callbacks.append)
        self._accumulator = engine.accumulator
        self.workers = WorkerPool(self, backend, sender, limits, self.timer, around_of(hook))
        self._breakers_moved = engine.breaker_changes  # the same list for ever, and emptied here
        forks.watch(self)
        self._stopped = False

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
            self.timer.get_ready()
            if self._put_off or self.callbacks:  # from before this had begun
                self.turn()
            self.workers.start_wanted(tasks)
            await self.timer.sleep_until(min(self.engine.next_at, self.workers.next_timeout()))
            self.timer.call_due(self.now())
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
        self.timer.wake()

    def go_on_soon(self) -> None:
        """Have :meth:`run` make a turn."""
        self.timer.wake()

    def note_fork(self) -> None:
        """Do nothing any more that the parent does: we are in a child."""
        self.forked = True
        self.gate = self.open_in = NOWHERE
        self.broken = BatcherNotOpen(forks.WORDS)
        with suppress(Exception):  # another thread may have forked
            self.timer.wake()

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
            if self.engine.next_at < self.timer.armed_at:
                self.timer.wake()
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
        if plan.ask_again_at < self.timer.armed_at:
            self.timer.wake()
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
