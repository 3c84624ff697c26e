"""The service: requests become writes of one Writer, and outcomes become operations and answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup, TaskStatus

from batcher._shell.receipts import Receipt
from batcher.destinations import Destination
from batcher.errors import BatcherClosed, BatcherError, InvalidGroup, InvalidRecord, Overloaded, RecordError
from batcher.events import Hook
from batcher.outcomes import NotWritten, Outcome, Rejected, RolledBack, Unknown, Written
from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy
from batcher.server import _answers
from batcher.server._answers import Answer
from batcher.server._fates import Fate, fate_of
from batcher.server._operations import Operation, Operations
from batcher.server._problems import Problem, log_failure
from batcher.server._requests import MAX_HOURS, MAX_MINUTES, MAX_RECORDS, BadRequest, Installation, WriteRequest
from batcher.server._windows import WindowedDestination, WindowedWrite, Windows, key_of
from batcher.writer import Writer
from batcher.writes import Write, WriteType, check_write

# A synchronous write begins its last call within 10 seconds, and that takes 20 at most: Ampersand's own SDK for agents
# gives up after 30.
SYNCHRONOUS_DEADLINE = 10.0
LIMITS = Limits(call_timeout=20.0)
# Seconds after which a request that found no place may come again.
_COME_BACK = 1.0
# No retry of the writer ends before the one that a request may ask for; each request has a deadline of its own. No
# breaker tells those who have hours left that they are not written: the synchronous ones share their lanes, and those
# give up by themselves after seconds.
_LONGEST = MAX_HOURS * 3600.0 + MAX_MINUTES * 60.0
_RETRY = RetryPolicy(deadline=_LONGEST, breaker=None)


@attrs.frozen(kw_only=True)
class Rules:
    """What this server allows, and for how long it waits and remembers."""

    deletion_enabled: Collection[str]
    """Objects whose records may be deleted."""
    installations: Collection[Installation] | None
    """Whose records may be written; None for everybody's. All go to the one destination."""
    synchronous_deadline: float
    """Seconds for which a synchronous write is sent and tried again."""
    keep_for: float
    """Seconds for which an ended operation can be read."""
    keep_records: int
    """Records of ended operations that are kept at most."""


class Service:
    """The Write API without HTTP.

    :param on_event: of the Writer
    :param clock: returns seconds since 1970
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
        self.operations = Operations(clock, keep_for=rules.keep_for, keep_records=rules.keep_records)
        self._destination = destination
        auto_batch = auto_batch or AutoBatchPolicy()
        self.windows = Windows(self.operations, min(MAX_RECORDS, auto_batch.max_records))
        self._limits = limits or LIMITS
        self.writer = Writer(
            WindowedDestination(destination),
            auto_batch=auto_batch,
            retry=_RETRY,
            limits=self._limits,
            on_event=on_event,
        )
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._making_room = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the destination; at the end drain, so that what was accepted has its outcome."""
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

    @property
    def open_windows(self) -> int:
        """How many windows take more records."""
        self.windows.close_due(anyio.current_time())
        return len(self.windows)

    def operation(self, project: str, operation_id: str) -> Operation:
        """Return an operation.

        :raises Problem: there is none, or it is forgotten
        """
        self.windows.close_due(anyio.current_time())
        operation = self.operations.find(project, operation_id)
        if operation is None:
            raise Problem(
                404,
                "Operation not found for the given operation ID.",
                "Verify the operation ID and project are correct, or list operations to find a valid ID.",
            )
        return operation

    def operations_of(
        self, installation: Installation, before: int | None, size: int
    ) -> tuple[list[Operation], int | None]:
        """Return a page of operations, the newest first, and where the next page begins; see :class:`Operations`."""
        self.windows.close_due(anyio.current_time())
        return self.operations.page(installation, before, size)

    async def write(self, request: WriteRequest) -> tuple[Answer, int | None]:
        """Do what a request asks for; return the answer, and the record's index in its operation if it joined a window.

        :raises BadRequest: a record can never be written as it is
        :raises Problem: refused, or not now
        """
        self._check_allowed(request)
        try:
            if not request.asynchronous:
                return await self._synchronous(request), None
            if request.max_delay is not None:
                return self._auto_batched(request, request.max_delay)
            if request.all_or_none:
                return await self._asynchronous_group(request), None
            return self._asynchronous(request), None
        except InvalidRecord as error:
            raise BadRequest(str(error)) from None
        except Overloaded:
            raise Problem(503, "too many records are pending", retry_after=_COME_BACK) from None
        except BatcherClosed:
            raise Problem(503, "the server is stopping", retry_after=_COME_BACK) from None

    def _check_allowed(self, request: WriteRequest) -> None:
        installations = self.rules.installations
        if installations is not None and request.installation not in installations:
            raise Problem(404, "no such installation", "check the project, the integration and the groupRef")
        if request.type is WriteType.DELETE and request.object not in self.rules.deletion_enabled:
            raise Problem(
                403,
                "deletion is not enabled for this object",
                "name the object where the server is started: batcher serve --allow-delete, or deletion_enabled=",
            )

    async def _synchronous(self, request: WriteRequest) -> Answer:
        outcomes = await self._outcomes(request, self.rules.synchronous_deadline)
        fates = [fate_of(outcome) for outcome in outcomes]
        operation = self._begin(request)
        self._settle_all(operation, fates)
        if request.is_batch:
            return _answers.batch(operation.id, fates, request.type)
        return _answers.single(operation.id, fates[0], request.type)

    async def _outcomes(self, request: WriteRequest, deadline: float) -> Sequence[Outcome]:
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
            outcomes = self._outcomes_of_invalid_group(request.writes)
            if outcomes is None:
                raise
            return outcomes

    def _outcomes_of_invalid_group(self, writes: Sequence[Write]) -> Sequence[Outcome] | None:
        """Name the members that can never be written; None if it is the group as a whole that breaks a rule."""
        refused: dict[int, Rejected] = {}
        for index, write in enumerate(writes):
            try:
                check_write(write)
                self._destination.encode(write)
            except InvalidRecord as error:
                refused[index] = Rejected((error.detail,))
        if not refused:
            return None
        rolled_back = RolledBack(tuple(refused), [error for each in refused.values() for error in each.errors])
        return [refused.get(index, rolled_back) for index in range(len(writes))]

    def _auto_batched(self, request: WriteRequest, max_delay: float) -> tuple[Answer, int]:
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
        return _answers.accepted(window.operation.id), index

    def _asynchronous(self, request: WriteRequest) -> Answer:
        self._check_room(len(request.writes))
        receipts: list[Receipt[Any] | Fate] = [self._submit(request, write) for write in request.writes]
        operation = self._begin(request)
        for index, receipt in enumerate(receipts):
            if isinstance(receipt, Fate):
                self.operations.settle(operation, index, receipt)
            else:
                receipt.add_done_callback(partial(self._settle, operation, index))
        return _answers.accepted(operation.id)

    def _submit(self, request: WriteRequest, write: Write) -> Receipt[Any] | Fate:
        try:
            return self.writer.submit_nowait(write, deadline=request.retry_deadline)
        except InvalidRecord as error:
            if not request.is_batch:
                raise
            return fate_of(Rejected((error.detail,)))
        except Overloaded:
            if not request.is_batch:
                raise
            return fate_of(NotWritten("too many records were pending"))

    async def _asynchronous_group(self, request: WriteRequest) -> Answer:
        self._check_room(len(request.writes))
        if self._stopping:
            raise BatcherClosed("a group that comes now would be refused")
        assert self._tasks is not None, "requests come while the server runs"
        # Returns when the group is submitted, so that what comes later stays behind it; that takes no time.
        with anyio.CancelScope(shield=True):
            operation: Operation = await self._tasks.start(self._write_group, request)
        return _answers.accepted(operation.id)

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
        operation = self.operations.begin(request.installation, request.object, is_batch=request.is_batch)
        for _ in request.writes:
            operation.join()
        return operation

    def _settle_all(self, operation: Operation, fates: Sequence[Fate]) -> None:
        for index, fate in enumerate(fates):
            self.operations.settle(operation, index, fate)

    def _settle(self, operation: Operation, index: int, receipt: Receipt[Any]) -> None:
        assert receipt.outcome is not None, "called when the receipt is done"
        self.windows.close_due(anyio.current_time())
        self.operations.settle(operation, index, fate_of(receipt.outcome))
