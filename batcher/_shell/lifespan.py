"""Opening and closing: the tasks of one open batcher, and what becomes of the records that are left."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Final

from batcher._shell.backend.waiters import Host, raise_bare
from batcher._shell.forks import WORDS
from batcher._shell.hooks import stops_programs
from batcher._shell.reporting import log_left_over
from batcher._shell.runtime import Runtime
from batcher._shell.steps import IN_STEP
from batcher.errors import BatcherError, BatcherNotOpen

_CANCELLED: Final = "the batcher was cancelled"


class Lifespan:
    """The life of a runtime, from the start of its tasks to their end."""

    def __init__(self, runtime: Runtime, host: Host, shutdown_timeout: float) -> None:
        self.open = False
        self._runtime = runtime
        self._host = host
        self._shutdown_timeout = shutdown_timeout
        self._ends_at = inf  # if somebody has said so before the body ended
        self._patience = shutdown_timeout  # seconds that were granted, for those who are told

    async def begin(self) -> None:
        """Start the tasks. This waits for nothing."""
        await self._host.begin(self._runtime.run, self._runtime.stop, self._die)
        self.open = True

    async def end(self, error: BaseException | None) -> None:
        """Drain, or settle at once if the host is cancelled; then end the tasks.

        :param error: what made the body end. It leaves by itself, as it is
        :raises BaseException: what has interrupted this, or what a task of the batcher has died of
        """
        self._host.leave()
        # Who exits wants to leave nothing behind; who is cancelled or interrupted wants to leave at once.
        interruption = None if isinstance(error, (Exception, SystemExit)) else error
        try:
            if interruption is None:
                await self._drain()
        except BaseException as late:  # the host is cancelled while it drains
            interruption = late
        try:
            self._abort(self._out_of_time() if interruption is None else _CANCELLED)
        except BaseException as ending:  # a hook or a callback ends the program; the tasks are to end before
            interruption = ending
        self.open = False
        try:
            crashed = await self._host.end(interruption)
        finally:
            self._runtime.finish()
        runtime = self._runtime
        if crashed and error is interruption and self._runtime.forked:
            raise BatcherNotOpen(WORDS)
        if crashed and error is interruption:
            if runtime.broken is not None:
                name = type(runtime.broken).__name__
                raise BatcherError(
                    f"the batcher was cut off in the middle of a step, by {name}, and ended with it; all its records "
                    "have their outcomes: raise nothing in signal handlers and finalizers that run in the loop"
                ) from runtime.broken
            raise BatcherError("a task of the batcher was cancelled from outside, and the batcher ended with it")
        if interruption is not None and interruption is not error:
            raise_bare((interruption,))

    def end_within(self, seconds: float) -> None:
        """Make everything due, and settle what is left then. The body goes on, and may submit until then."""
        runtime = self._runtime
        until = runtime.now() + seconds
        if not self.open or runtime.broken is not None or until >= self._ends_at:
            return
        self._ends_at, self._patience = until, seconds
        runtime.step(runtime.engine.hurry, runtime.now(), until)
        runtime.turn()
        runtime.timer.call_at(until, self._out_of_patience)

    def _out_of_patience(self) -> None:
        if self._runtime.now() >= self._ends_at:  # else somebody has less, and this was settled then
            self._abort(self._out_of_time())

    def _out_of_time(self) -> str:
        return f"the shutdown timeout of {self._patience:g} s passed"

    def _die(self) -> None:
        """Settle everything at once: a task of the batcher has ended unasked, and nobody would see to it any more."""
        self._abort(_CANCELLED)

    async def _drain(self) -> None:
        """Make everything due, and wait until all is settled or the time is up."""
        runtime = self._runtime
        await runtime.whole()
        runtime.close_gate()
        if runtime.broken is not None:
            return
        now = runtime.now()
        until = min(now + self._shutdown_timeout, self._ends_at)
        runtime.step(runtime.engine.close, now, until)
        runtime.turn()
        await runtime.settled_by(until)

    def _abort(self, cause: str) -> None:
        """Settle whatever is left at once."""
        runtime, engine = self._runtime, self._runtime.engine
        runtime.close_gate()
        if runtime.open_in is IN_STEP:  # a finalizer has closed a generator that holds a batcher
            runtime.put_off(partial(self._abort, cause))
            return
        if runtime.broken is not None:
            return
        before = engine.outcomes()
        runtime.complaints.ended_by = cause
        runtime.step(engine.abort, runtime.now(), cause, runtime.workers.take_unsent())
        left = engine.outcomes() - before
        log_left_over(cause, left["unknown"], left["not_written"])
        # No turn follows that would tell the rest, if a hook or a callback ends the program in the middle of this one.
        # Each that does so is told of its event once, so this ends.
        first: BaseException | None = None
        while True:
            try:
                runtime.turn()
                break
            except BaseException as error:
                if not stops_programs(error):
                    raise
                first = first or error
        if first is not None:
            raise first
