"""The service: requests become writes of one Writer, and outcomes become operations and answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from batcher._shell.receipts import Receipt
from batcher.destinations import Destination
from batcher.errors import (
    BatcherClosed,
    BatcherError,
    BatcherNotOpen,
    InvalidGroup,
    InvalidRecord,
    Overloaded,
    RecordError,
)
from batcher.events import Hook
from batcher.outcomes import NotWritten, Outcome, Rejected, RolledBack, Unknown, Written
from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy
from batcher.server._answers import Answer, accepted, batch, single
from batcher.server._fates import Fate, fate_of
from batcher.server._guards import Rules
from batcher.server._operations import Operation, Operations
from batcher.server._problems import Problem, log_failure
from batcher.server._requests import MAX_HOURS, MAX_MINUTES, MAX_RECORDS, BadRequest, WriteRequest
from batcher.server._windows import WindowedDestination, WindowedWrite, Windows, key_of
from batcher.writer import Writer
from batcher.writes import Write, check_write

# A synchronous write begins its last call within 10 seconds, and that takes 20 at most: Ampersand's own SDK for agents
# gives up after 30.
SYNCHRONOUS_DEADLINE = 10.0
LIMITS = Limits(call_timeout=20.0)
# In the answer to an auto-batched write: the place of its record in the operation.
_RECORD_INDEX = "batcher-record-index"
# Seconds after which a request that found no place may come again.
_COME_BACK = 1.0
# No retry of the writer ends before the one that a request may ask for; each request has a deadline of its own. No
# breaker tells those who have hours left that they are not written: the synchronous ones share their lanes, and those
# give up by themselves after seconds.
_LONGEST = MAX_HOURS * 3600.0 + MAX_MINUTES * 60.0
_RETRY = RetryPolicy(deadline=_LONGEST, breaker=None)


class Service:
    """The Write API without HTTP.

    :param on_event: of the Writer
    :param clock: returns seconds since 1970, for the times that are shown
    """

    def __init__(
        self,
        destination: Destination,
        rules: Rules,
        *,
        auto_batch: AutoBatchPolicy | None = None,
        limits: Limits | None = None,
        on_event: Hook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules = rules
        self.clock = clock
        self._destination = destination
        self._auto_batch = auto_batch or AutoBatchPolicy()
        self._limits = limits or LIMITS
        self._on_event = on_event
        self._running = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Make what lives once, in one event loop. Operations go with it: their ages are on the clock of that loop."""
        rules, policy = self.rules, self._auto_batch
        self._operations = Operations(self.clock, keep_for=rules.keep_for, keep_records=rules.keep_records)
        self.windows = Windows(self._operations, min(MAX_RECORDS, policy.max_records))
        windowed = WindowedDestination(self._destination)
        self.writer = Writer(windowed, auto_batch=policy, retry=_RETRY, limits=self._limits, on_event=self._on_event)
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._making_room = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the destination; at the end drain, so that what was accepted has its outcome. One life after another.

        :raises BatcherNotOpen: it is running already
        """
        if self._running:
            raise BatcherNotOpen("this app runs already, and cannot twice at the same time: make one for each server")
        self._running = True
        self._begin_anew()
        try:
            async with self._open():
                yield
        finally:
            self._running = False
            self._operations.finish()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        try:
            # Outside of the writer: the tasks wait for outcomes, which are all there once it is closed.
            async with anyio.create_task_group() as self._tasks, self.writer:
                try:
                    yield
                finally:
                    self._stopping = True
        except BaseExceptionGroup as group:
            # The tasks raise nothing, so this is what ended the block or kept it from beginning: hand it on bare.
            (only,) = group.exceptions
            raise only from only.__cause__

    def end_within(self, seconds: float) -> None:
        """Have every request answered, and every record settled, within this time: see ``Writer.end_within()``."""
        self.writer.end_within(seconds)

    @property
    def operations(self) -> Operations:
        """The operations as of now: windows whose time has passed take no more records."""
        self.windows.close_due(anyio.current_time())
        return self._operations

    async def write(self, request: WriteRequest) -> Answer:
        """Do what a request asks for, and return the answer.

        :raises BadRequest: a record can never be written as it is
        :raises Problem: refused, or not now
        """
        self.rules.check(request)
        try:
            if not request.asynchronous:
                return await self._synchronous(request)
            if request.max_delay is not None:
                return self._auto_batched(request, request.max_delay)
            if request.all_or_none:
                return await self._asynchronous_group(request)
            return self._asynchronous(request)
        except InvalidRecord as error:
            raise BadRequest(str(error)) from None
        except Overloaded:
            raise Problem(503, "too many records are pending", retry_after=_COME_BACK) from None
        except BatcherClosed:
            raise Problem(503, "the server is stopping", retry_after=_COME_BACK) from None

    async def _synchronous(self, request: WriteRequest) -> Answer:
        outcomes = await self._outcomes(request, self.rules.synchronous_deadline)
        fates = [fate_of(outcome) for outcome in outcomes]
        operation = self._begin(request)
        self._settle_all(operation, fates)
        if request.is_batch:
            return batch(operation.id, fates, request.type)
        return single(operation.id, fates[0], request.type)

    async def _outcomes(self, request: WriteRequest, deadline: float) -> Sequence[Outcome]:
        """Write the records of a request and wait for what becomes of them, in their order.

        :raises InvalidGroup: the batch as a whole breaks a rule of groups
        """
        if not request.is_batch:
            try:
                outcome: Any = await self.writer.submit(request.writes[0], deadline=deadline)
            except RecordError as error:
                outcome = error.outcome
            # A destination may also return plain values.
            return [outcome if isinstance(outcome, Outcome) else Written(data=outcome)]
        try:
            return await self.writer.submit_all(request.writes, deadline=deadline, all_or_none=request.all_or_none)
        except InvalidGroup:
            refused = self._refused(request.writes)
            if not refused:
                raise
        rolled_back = RolledBack(tuple(refused), [error for each in refused.values() for error in each.errors])
        return [refused.get(index, rolled_back) for index in range(len(request.writes))]

    def _refused(self, writes: Sequence[Write]) -> dict[int, Rejected]:
        """Name the members of a group that can never be written; none if it is the group as a whole that cannot."""
        refused: dict[int, Rejected] = {}
        for index, write in enumerate(writes):
            try:
                check_write(write)
                self._destination.encode(write)
            except InvalidRecord as error:
                refused[index] = Rejected((error.detail,))
        return refused

    def _auto_batched(self, request: WriteRequest, max_delay: float) -> Answer:
        now = anyio.current_time()
        key = key_of(request)
        window = self.windows.find(key, now)
        closes_at = now + max_delay if window is None else window.closes_at
        (plain,) = request.writes
        write = WindowedWrite(
            plain.object, plain.type, plain.record, associations=plain.associations, headers=plain.headers, window=key
        )
        wait = closes_at - now
        receipt = self.writer.submit_nowait(write, max_delay=wait, deadline=wait + request.retry_deadline)
        # Only now that the record is accepted: what is refused opens no window.
        # And it may have been closed by what was settled meanwhile.
        if window is None or not window.operation.takes_more:
            window = self.windows.open(key, closes_at)
        index = self.windows.join(key, window)
        receipt.add_done_callback(partial(self._settle, window.operation, index))
        return accepted(window.operation.id, {_RECORD_INDEX: str(index)})

    def _asynchronous(self, request: WriteRequest) -> Answer:
        self._check_room(len(request.writes))
        receipts: list[Receipt[Any] | Fate] = [self._submit(request, write) for write in request.writes]
        operation = self._begin(request)
        for index, receipt in enumerate(receipts):
            if isinstance(receipt, Fate):
                self._operations.settle(operation, index, receipt)
            else:
                receipt.add_done_callback(partial(self._settle, operation, index))
        return accepted(operation.id)

    def _submit(self, request: WriteRequest, write: Write) -> Receipt[Any] | Fate:
        try:
            return self.writer.submit_nowait(write, deadline=request.retry_deadline)
        except (InvalidRecord, Overloaded) as error:
            if not request.is_batch:
                raise
            if isinstance(error, InvalidRecord):
                return fate_of(Rejected((error.detail,)))
            return fate_of(NotWritten("too many records were pending"))

    async def _asynchronous_group(self, request: WriteRequest) -> Answer:
        self._check_room(len(request.writes))
        if self._stopping:
            raise BatcherClosed("a group that comes now would be refused")
        assert self._tasks is not None, "requests come while the server runs"
        # Returns when the group is submitted, so that what comes later stays behind it; that takes no time.
        with anyio.CancelScope(shield=True):
            operation: Operation = await self._tasks.start(self._write_group, request)
        return accepted(operation.id)

    async def _write_group(self, request: WriteRequest, *, task_status: TaskStatus[Operation]) -> None:
        operation = self._begin(request)
        task_status.started(operation)  # which resumes the other side not before this one waits
        try:
            outcomes = await self._outcomes(request, request.retry_deadline)
        except InvalidGroup as error:
            outcomes = [Rejected((error.detail,))] * len(request.writes)
        except BatcherClosed:
            outcomes = [NotWritten("the server stopped")] * len(request.writes)
        except Exception as error:  # one that leaves would take the server along
            log_failure("a group could not be written", error)
            outcomes = [Unknown(error)] * len(request.writes)
        self._settle_all(operation, [fate_of(outcome) for outcome in outcomes])

    def _check_room(self, count: int) -> None:
        """Take a batch in as a whole or not at all, as far as can be seen."""
        statistics = self.writer.statistics()
        if statistics.waiting or statistics.pending + count > self._limits.max_pending_records:
            # The writer makes half-filled windows due for the sake of those who wait. These do not wait: they go.
            if self._tasks is not None and not self._making_room and not self._stopping:
                self._making_room = True
                self._tasks.start_soon(self._make_room)
            raise Overloaded("others wait for a place, or there is none for all")

    async def _make_room(self) -> None:
        # Over before the refused ones come back: what is tried again later may take hours.
        with anyio.move_on_after(_COME_BACK / 2), suppress(BatcherError):
            await self.writer.flush()
        self._making_room = False

    def _begin(self, request: WriteRequest) -> Operation:
        operation = self._operations.begin(
            request.installation, request.object, is_batch=request.is_batch, unseen=request.asynchronous
        )
        for _ in request.writes:
            operation.join()
        return operation

    def _settle_all(self, operation: Operation, fates: Sequence[Fate]) -> None:
        for index, fate in enumerate(fates):
            self._operations.settle(operation, index, fate)

    def _settle(self, operation: Operation, index: int, receipt: Receipt[Any]) -> None:
        assert receipt.outcome is not None, "called when the receipt is done"
        self.operations.settle(operation, index, fate_of(receipt.outcome))
