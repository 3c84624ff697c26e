"""Opening and closing: the task group of one open batcher, and what becomes of the records that are left."""

from __future__ import annotations

import anyio

from batcher._shell.hooks import stops_programs
from batcher._shell.reporting import log_left_over
from batcher._shell.runtime import NOWHERE, Runtime
from batcher._shell.waiting import AllSettled
from batcher.errors import BatcherError


class Lifespan:
    """The life of a runtime, from the start of its tasks to their end."""

    def __init__(self, runtime: Runtime, shutdown_timeout: float) -> None:
        self.open = False
        self._runtime = runtime
        self._shutdown_timeout = shutdown_timeout
        self._tasks = anyio.create_task_group()

    async def begin(self) -> None:
        """Start the tasks. This waits for nothing."""
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._runtime.run, self._tasks, name="batcher")
        self.open = True

    async def end(self, error: BaseException | None) -> bool | None:
        """Drain, or settle at once if the host is cancelled; then end the tasks.

        :param error: what made the body end. It leaves as it is, never wrapped in a group
        :returns: whether it was swallowed
        """
        tasks = self._tasks
        interruption = None if isinstance(error, Exception) else error
        try:
            if interruption is None:
                await self._drain()
        except BaseException as late:  # the host is cancelled while it drains
            interruption = late
        out_of_time = f"the shutdown timeout of {self._shutdown_timeout:g} s passed"
        try:
            self._abort(out_of_time if interruption is None else "the batcher was cancelled")
        except BaseException as ending:  # a hook or a callback ends the program; the tasks are to end before
            interruption = ending
        self.open = False
        crashed = tasks.cancel_scope.cancel_called  # by one of our own tasks that ended, unasked
        tasks.cancel_scope.cancel()
        try:
            swallowed = await self._leave(interruption)
        finally:
            if self._runtime.reporter is not None:
                self._runtime.reporter.cut_off(self._runtime.now())
        if crashed and swallowed:
            raise BatcherError("a task of the batcher was cancelled from outside, and the body with it")
        return swallowed

    async def _drain(self) -> None:
        """Make everything due, and wait until all is settled or the time is up."""
        runtime = self._runtime
        runtime.open_in = NOWHERE
        now = runtime.now()
        until = now + self._shutdown_timeout
        runtime.engine.close(now, until)
        runtime.turn()
        with anyio.CancelScope(deadline=until):
            await AllSettled(runtime.engine.pending_entries()).wait(runtime.new_waiter)

    def _abort(self, cause: str) -> None:
        """Settle whatever is left at once."""
        runtime, engine = self._runtime, self._runtime.engine
        runtime.open_in = NOWHERE
        before = engine.outcomes()
        engine.abort(runtime.now(), cause, runtime.workers.take_unsent())
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

    async def _leave(self, interruption: BaseException | None) -> bool | None:
        kind = None if interruption is None else type(interruption)
        trace = None if interruption is None else interruption.__traceback__
        try:
            swallowed = await self._tasks.__aexit__(kind, interruption, trace)
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
