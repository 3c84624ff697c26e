"""The shell: what a Batcher and a Writer have in common. It decides nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from types import TracebackType
from typing import NoReturn, Self

from batcher._core.engine import Engine
from batcher._shell.accepting import AnyReceipt
from batcher._shell.backend.current import current_backend
from batcher._shell.hooks import as_hook, capture_of
from batcher._shell.lifespan import Lifespan
from batcher._shell.runtime import Runtime
from batcher._shell.statistics import Statistics, accepted, statistics_of
from batcher._shell.steps import IN_STEP, NOWHERE
from batcher._shell.undelivered import OnUndelivered, as_on_undelivered
from batcher._shell.waiting import AllSettled
from batcher._shell.workers import Sender
from batcher.errors import BatcherClosed, BatcherNotOpen
from batcher.events import Hook
from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy, Seconds, to_seconds

_numbers = count(1)  # of batches, in the whole process: several batchers may share a hook


class Shell:
    """What a Batcher and a Writer have in common."""

    def __init__(
        self,
        sender: Sender,
        *,
        auto_batch: AutoBatchPolicy | None,
        retry: RetryPolicy | None,
        limits: Limits | None,
        deadline: Seconds | None,
        on_event: Hook | Sequence[Hook] | None,
        on_undelivered: OnUndelivered | None = None,
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
        self._deadline = None if deadline is None else to_seconds("deadline", deadline)
        self._on_event = as_hook(on_event)
        self._on_undelivered = as_on_undelivered(on_undelivered)
        self._capture = capture_of(self._on_event)
        policy, retry = auto_batch or AutoBatchPolicy(), retry or RetryPolicy()
        self._engine = Engine(policy, retry, self._limits, sender.rules, atomic=atomic, numbers=_numbers)
        self._runtime: Runtime | None = None
        self._lifespan: Lifespan | None = None
        self._post: Callable[[Callable[[], object]], object] | None = None
        self._entered = False
        # The last flush: what had been accepted by then, and who waits for that. Flushes of the same share it.
        self._flushed = -1, AllSettled(())

    async def __aenter__(self) -> Self:
        """Start the batcher in the running event loop.

        :raises BatcherNotOpen: entered before; a batcher lives once
        """
        self._enter_once()
        await self._start()
        return self

    async def _start(self) -> None:
        backend = current_backend()
        self._post = backend.post
        runtime = Runtime(backend, self._engine, self._sender, self._limits, self._on_event, self._on_undelivered)
        self._lifespan = Lifespan(runtime, backend.new_host(), self._limits.shutdown_timeout)
        self._runtime = runtime
        await self._lifespan.begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain, or settle at once if the host is cancelled; then end the tasks.

        The body's exception leaves as it is, never wrapped in a group.
        """
        assert self._lifespan is not None
        await self._lifespan.end(error)

    def __enter__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} waits when it is left: use 'async with', in an async function")

    def __exit__(self, *_: object) -> None:  # looked for before __enter__ is called
        """Never reached."""

    def __del__(self) -> None:
        lifespan: Lifespan | None = getattr(self, "_lifespan", None)  # not there if a wrong argument was refused
        if lifespan is not None and lifespan.open and not (self._runtime is not None and self._runtime.forked):
            way_out = f"use it as 'async with {type(self).__name__}(...)'"
            # What Python hides by default is no place for records that are lost.
            kind = RuntimeWarning if self._engine.pending else ResourceWarning
            warnings.warn(f"unclosed {self!r}: {way_out}", kind, source=self, stacklevel=1)

    def __repr__(self) -> str:
        state = "not entered" if self._lifespan is None else "open" if self._lifespan.open else "closed"
        engine = self._engine
        return f"<{type(self).__name__} {state}: {engine.pending} pending, {engine.in_flight} in flight>"

    def _enter_once(self) -> None:
        if self._entered:
            raise BatcherNotOpen(
                f"this {type(self).__name__} was entered before; it lives once, in one event loop: make a new one"
            )
        self._entered = True

    # What the verbs share

    def _opened(self, what: str, *, waits: bool = True) -> Runtime:
        """Return the runtime, if *what* may be called here and now."""
        runtime = self._runtime
        if runtime is None:
            raise BatcherNotOpen(f"{what} before entering: use it inside 'async with {type(self).__name__}(...)'")
        runtime.check_loop()
        if waits:
            runtime.check_may_wait(what)
        if runtime.gate is NOWHERE:
            why = "is closing or closed" if runtime.broken is None else "was cut off in the middle of a step"
            raise BatcherClosed(f"the batcher {why} and takes no more records") from runtime.broken
        return runtime

    async def _whole(self, what: str) -> Runtime:
        """Return the runtime as :meth:`_opened` does, when no step is under way."""
        runtime = self._opened(what)
        if runtime.open_in is IN_STEP:
            await runtime.whole()
            runtime = self._opened(what)
        return runtime

    def _in_time(self, deadline: Seconds | None) -> Seconds | None:
        return self._deadline if deadline is None else deadline

    def _linked(self, receipt: AnyReceipt) -> AnyReceipt:
        """Note what the hook captures where records are submitted, if it does."""
        if self._capture is not None:
            receipt.link = self._capture()
        return receipt

    async def flush(self) -> None:
        """Make everything accepted so far due, and wait until each of it has its outcome.

        It overrides no pause and no backoff, and covers no record that still waits for a place.
        """
        runtime, engine = await self._whole("flush()"), self._engine
        flushed, all_settled = self._flushed
        if flushed != accepted(engine):
            all_settled = runtime.step(self._flush, runtime.now())
            self._flushed = accepted(engine), all_settled
            runtime.turn()
        await runtime.wait_for(all_settled)

    def _flush(self, now: float) -> AllSettled:
        self._engine.flush(now)
        return AllSettled(self._engine.pending_entries())

    def end_within(self, seconds: Seconds | None = None) -> None:
        """Have every record settled that soon: for the moment when the host begins to shut down.

        Hosts wait for open requests first, and these wait for their records, which may be tried again for a minute.
        From now on everything is due at once, and what has no outcome when the time is up gets one, as on leaving: not
        written, or unknown if a call carries it. So whoever waits is told by then. Until then records are taken, and
        have what is left of the time; then the batcher is closed. Leaving it begins no new time.

        It may be called from a signal handler, from another thread, and again: the shortest time counts. Before
        entering and after leaving it does nothing.

        :param seconds: None is ``Limits.shutdown_timeout``
        """
        patience = self._limits.shutdown_timeout if seconds is None else to_seconds("seconds", seconds)
        lifespan, post = self._lifespan, self._post
        if lifespan is not None and post is not None and lifespan.open:
            with suppress(RuntimeError):  # the loop has ended
                post(partial(lifespan.end_within, patience))

    def statistics(self) -> Statistics:
        """Return what the batcher has done and holds right now."""
        return statistics_of(self._engine, 0 if self._runtime is None else self._runtime.workers.calls_made)
