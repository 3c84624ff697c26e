"""Callers: who may call a batcher, and what becomes of those who wait for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial

from batcher._core.engine import Engine
from batcher._core.model.entries import Entry, Unit
from batcher._core.model.states import State
from batcher._shell import forks
from batcher._shell.backend.waiters import AwaitableWaiter, Backend, Waiter
from batcher._shell.reporting import Reporter
from batcher._shell.steps import IN_STEP, Steps
from batcher._shell.timer import Timer
from batcher._shell.undelivered import WITHDRAWN, Undelivered
from batcher._shell.waiting import AllSettled, Note, attach, forsake
from batcher._shell.workers import working_for
from batcher.errors import BatcherNotOpen, NestedSubmit
from batcher.outcomes import Outcome


class Callers(Steps):
    """What callers ask of a runtime besides to take a record."""

    undelivered: Undelivered
    reporter: Reporter | None

    def __init__(self, backend: Backend, engine: Engine) -> None:
        super().__init__(backend.loop, backend.new_waiter)
        self.engine = engine
        self.running = backend.running
        self.now = backend.now
        self.forked = False  # this process is a child of the one that has opened it
        self._backend = backend
        self._wake = backend.wake
        self.timer = Timer(backend.new_waiter)
        self._places: dict[Unit, AwaitableWaiter] = {}  # who waits for a place, and not for the outcome

    @abstractmethod
    def turn(self) -> None:
        """Ask the engine what is to be done, and do it. Nothing here waits."""

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

    # For those who wait

    async def settled_by(self, until: float) -> None:
        """Wait until all pending records have their outcomes, but not beyond *until*.

        No scope stands in the task that waits: what ends it is a waiter, so nothing of the host is cancelled.
        """
        waiter = self.new_waiter()
        if self.step(lambda: AllSettled(self.engine.pending_entries()).add(waiter)):
            out_of_time = partial(_wake_one, waiter)
            self.timer.call_at(until, out_of_time)
            try:
                await waiter
            finally:
                self.timer.call_off(out_of_time)

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
