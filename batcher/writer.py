"""The writer: writes to a SaaS system, batched."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Any, Never, Self

from batcher._core.model.entries import NO_EXTRAS, LinkedEntry
from batcher._shell.accepting import accept_all, accept_group, accept_in_turn, accept_now, extras_of
from batcher._shell.hooks import linking, logger
from batcher._shell.misuse import check_many, is_destination, misplaced
from batcher._shell.receipts import Receipt, result_of
from batcher._shell.runtime import NOTHING, Runtime
from batcher._shell.shell import Shell
from batcher._shell.steps import IN_STEP
from batcher._shell.undelivered import OnUndelivered
from batcher._shell.workers import working_for
from batcher.destinations import Destination, Prepared
from batcher.errors import InvalidGroup, InvalidRecord
from batcher.events import Hook
from batcher.outcomes import Accepted, Outcome, Rejected, Written
from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy, Seconds
from batcher.writes import Association, Write, WriteType, check_write


class Writer(Shell):
    """Writes single records to a destination in full batches.

    Use it as ``async with Writer(destination) as writer``; the destination is opened and closed with it.
    A record is validated and encoded when it is submitted: changing it later changes nothing.

    :param destination: where to, for example ``SQLite("crm.db")``; it caps the policy's figures
    :param auto_batch: when a batch is due; by default 100 records, 1 MB, 0.05 s
    :param retry: when to try again; by default for 60 s, and never what may have been applied
    :param limits: ceilings of what is pending and in flight
    :param deadline: seconds after which a record is not sent any more whose submit does not say; None is never. A
        service gives what its own callers wait for; the retry policy is for those who can wait longer
    :param on_event: called in the event loop with each :class:`Event`, or several such; what one raises is logged
    :param on_undelivered: a plain function, called in the event loop with the :class:`Write`, its outcome and the
        number of calls that carried it, for whatever ends not written and that nobody awaited when it settled: a
        receipt without a waiter or callback, a caller who was cancelled. A later ``await`` of the receipt gets the
        outcome all the same. It may submit again; what it raises is logged. Without it such outcomes are lines at
        WARNING to the logger ``batcher``
    """

    def __init__(
        self,
        destination: Destination,
        *,
        auto_batch: AutoBatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        deadline: Seconds | None = None,
        on_event: Hook | Sequence[Hook] | None = None,
        on_undelivered: OnUndelivered | None = None,
        **misnamed: Never,
    ) -> None:
        if misnamed:
            raise misplaced(type(self).__name__, misnamed)
        if isinstance(destination, type) and is_destination(destination):
            name = destination.__name__
            raise TypeError(f"destination must be one, not the class {name}: make one, {name}(...)")
        if not is_destination(destination):
            raise TypeError(
                f"destination must be one, such as SQLite('crm.db'), not {type(destination).__name__}; "
                "for a function of your own use Batcher(write)"
            )
        super().__init__(
            destination,
            auto_batch=auto_batch,
            retry=retry,
            limits=limits,
            deadline=deadline,
            on_event=on_event,
            on_undelivered=on_undelivered,
        )
        self._destination = destination
        self._new_entry = WriteEntry if self._capture is None else linking(self._capture, WriteEntry)

    async def __aenter__(self) -> Self:
        """Open the destination, then the batcher.

        :raises BatcherNotOpen: entered before; a writer lives once
        """
        self._enter_once()
        await self._destination.__aenter__()
        await self._start()  # which waits for nothing, so nothing can come between
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain the batcher, then close the destination. The body's exception leaves as it is."""
        leaving = error
        try:
            await super().__aexit__(kind, error, trace)
        except BaseException as ended:
            leaving = ended
            raise
        finally:
            await self._close_destination(leaving)

    async def _close_destination(self, leaving: BaseException | None) -> None:
        trace = None if leaving is None else leaving.__traceback__
        try:
            await self._destination.__aexit__(None if leaving is None else type(leaving), leaving, trace)
        except Exception:
            if leaving is None:
                raise
            logger.exception("closing the destination failed; what made the body end is raised")

    # Everyday writes

    async def create(
        self,
        object: str,
        record: Mapping[str, Any],
        *,
        associations: Iterable[Association] = (),
        headers: Mapping[str, str] | None = None,
        deadline: Seconds | None = None,
    ) -> Written | Accepted:
        """Create a record and wait for its fate.

        :param associations: links to make together with the record; HubSpot only, refused elsewhere
        :param headers: of the call that carries it; Salesforce only, refused elsewhere
        :param deadline: as in :meth:`submit`
        :returns: :class:`Written` with the new record's id
        :raises InvalidRecord: the record can never be written as it is
        :raises RecordError: the outcome is not a success; see ``.outcome`` and ``.applied``
        """
        write = Write(object, WriteType.CREATE, record, associations=associations, headers=headers)
        return await self.submit(write, deadline=deadline)

    async def update(
        self,
        object: str,
        record: Mapping[str, Any],
        *,
        associations: Iterable[Association] = (),
        headers: Mapping[str, str] | None = None,
        deadline: Seconds | None = None,
    ) -> Written | Accepted:
        """Change fields of the record whose ``id`` is in *record*; the rest is as in :meth:`create`."""
        write = Write(object, WriteType.UPDATE, record, associations=associations, headers=headers)
        return await self.submit(write, deadline=deadline)

    async def upsert(
        self,
        object: str,
        record: Mapping[str, Any],
        *,
        by: str,
        associations: Iterable[Association] = (),
        headers: Mapping[str, str] | None = None,
        deadline: Seconds | None = None,
    ) -> Written | Accepted:
        """Update the record whose field *by* has this value, or create it; the rest is as in :meth:`create`."""
        write = Write(object, WriteType.UPSERT, record, by=by, associations=associations, headers=headers)
        return await self.submit(write, deadline=deadline)

    async def delete(
        self,
        object: str,
        record_id: str | None,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: Seconds | None = None,
    ) -> Written | Accepted:
        """Delete one record; the rest is as in :meth:`create`."""
        return await self.submit(Write(object, WriteType.DELETE, {"id": record_id}, headers=headers), deadline=deadline)

    # The four verbs

    async def submit(
        self, write: Write, *, max_delay: Seconds | None = None, deadline: Seconds | None = None
    ) -> Written | Accepted:
        """Submit one write and wait for its fate.

        :param max_delay: seconds that a batch opened by this write waits for company; None is the policy's
        :param deadline: seconds from now after which it is not sent any more; None is that of the Writer, ``math.inf``
            is never. Its batch leaves in time for it. If the pause of its lane or a quota lasts for longer, the record
            is told so at once
        :raises InvalidRecord: the record can never be written as it is
        :raises RecordError: the outcome is not a success; see ``.outcome`` and ``.applied``
        :raises BatcherClosed: the writer takes no more writes
        :raises BatcherNotOpen: not entered, or entered in another event loop
        """
        runtime = self._runtime
        # From here on _whole(), WriteReceipt() and Runtime.take(), unrolled: this runs for every record.
        if runtime is None or runtime.running() is not runtime.open_in or working_for():
            runtime = await self._whole("submit()")
        prepared = self._prepare(write)
        if deadline is None:
            deadline = self._deadline
        extras = NO_EXTRAS
        if prepared.identity is not None or max_delay is not None or deadline is not None:
            extras = extras_of(runtime, prepared.identity, max_delay, deadline)
        waiter = runtime.new_waiter()
        entry = self._new_entry()
        entry.submitted = write
        entry.record = prepared.item
        entry.size = prepared.size_bytes
        entry.waiter = waiter
        entry.extras = extras
        try:
            runtime.open_in = IN_STEP
            verb = self._engine.submit(entry, prepared.lane, runtime.now())
            runtime.open_in = runtime.gate
            if verb is not NOTHING:
                runtime.act_on(verb)
        except BaseException as error:
            runtime.cut_off(error, entry)
            raise
        del prepared, extras  # while this waits, nothing is kept that nobody needs: the garbage collector looks at it
        try:
            await waiter
        except BaseException:
            runtime.abandon((entry,))
            raise
        verdict = entry.verdict
        written: Written | Accepted = verdict if type(verdict) is Written else result_of(entry)
        return written

    def submit_nowait(
        self, write: Write, *, max_delay: Seconds | None = None, deadline: Seconds | None = None
    ) -> Receipt[Written | Accepted]:
        """Submit one write without waiting for anything; also from a callback of the loop.

        :raises Overloaded: no place is free, or others wait for one
        """
        runtime = self._opened("submit_nowait()", waits=False)
        prepared = self._prepare(write)
        receipt = WriteReceipt(runtime, write, prepared, max_delay, self._in_time(deadline))
        return accept_now(runtime, self._linked(receipt), prepared.lane)

    async def enqueue(
        self, write: Write, *, max_delay: Seconds | None = None, deadline: Seconds | None = None
    ) -> Receipt[Written | Accepted]:
        """Submit one write and wait for a place only, not for its fate."""
        runtime = await self._whole("enqueue()")
        prepared = self._prepare(write)
        receipt = WriteReceipt(runtime, write, prepared, max_delay, self._in_time(deadline))
        return await accept_in_turn(runtime, self._linked(receipt), prepared.lane)

    async def submit_all(
        self, writes: Iterable[Write], *, deadline: Seconds | None = None, all_or_none: bool = False
    ) -> list[Outcome]:
        """Submit many writes and wait for the fate of each. The last ones in make their batches due.

        :param all_or_none: they are a group: one call, written together or not at all
        :returns: the outcomes in the order of *writes*, failures too: nothing is raised for them. A write
            that can never be made is :class:`Rejected`.
        :raises InvalidGroup: with *all_or_none*: an invalid member, several lanes, too many, too large, two
            writes of one record, or a destination that cannot
        """
        runtime = await self._whole("submit_all()")
        check_many(writes, "write")
        refused: dict[int, Outcome] = {}
        receipts: list[WriteReceipt] = []  # not handed out: this waits for all of them
        lanes: list[Hashable] = []
        for index, write in enumerate(writes):
            try:
                prepared = self._prepare(write)
            except InvalidRecord as error:
                if all_or_none:
                    raise InvalidGroup(f"member {index} of the group: {error}") from error
                refused[index] = Rejected((error.detail,))
                continue
            # A delay of 0 brings forward what this waits for; complete() makes the lane itself due.
            hurry = None if prepared.identity is None else 0.0
            receipts.append(_OneOfMany(runtime, write, prepared, hurry, self._in_time(deadline)))
            lanes.append(prepared.lane)
        for receipt in receipts:
            self._linked(receipt)
        if all_or_none and receipts:
            if len(set(lanes)) > 1:
                raise InvalidGroup(
                    f"the group spans {len(set(lanes))} lanes, and a call carries one: all members need the same "
                    "object, type and headers, and whatever else the destination keeps apart"
                )
            return await accept_group(runtime, receipts, lanes[0])
        outcomes = await accept_all(runtime, receipts, [(lane, len(list(run))) for lane, run in groupby(lanes)])
        for index, outcome in refused.items():  # in ascending order, so each lands in its own place
            outcomes.insert(index, outcome)
        return outcomes

    async def operation(self, operation_id: str, *, wait: bool = False) -> Any:
        """Return what became of an asynchronous request; see the destination for what it tells.

        :param operation_id: from :class:`Accepted`
        :param wait: ask again until it has ended; put a timeout around it
        :raises TypeError: this destination has no operations
        :raises BatcherError: the service does not know it, or cannot be reached
        """
        self._opened("operation()")
        read = getattr(self._destination, "operation", None)
        if read is None:
            raise TypeError(f"{type(self._destination).__name__} has no operations: it answers at once")
        return await read(operation_id, wait=wait)

    def _prepare(self, write: Write) -> Prepared:
        if not isinstance(write, Write):
            raise TypeError(f"a Writer takes Write(object, type, record), not {type(write).__name__}")
        check_write(write)
        return self._destination.encode(write)


class WriteEntry(LinkedEntry):
    """What travels is the encoded record, what errors name is the write."""

    __slots__ = ("submitted",)

    submitted: Write


class WriteReceipt(Receipt[Written | Accepted]):
    """The receipt of a write: the same for whoever does not wait in place."""

    __slots__ = ("submitted",)

    submitted: Write

    def __init__(
        self, runtime: Runtime, write: Write, prepared: Prepared, max_delay: Seconds | None, deadline: Seconds | None
    ) -> None:
        extras = extras_of(runtime, prepared.identity, max_delay, deadline)
        super().__init__(runtime, prepared.item, prepared.size_bytes, extras)
        self.submitted = write


class _OneOfMany(WriteReceipt):
    """That of a write of a list, which nobody but its ``submit_all()`` ever sees."""

    __slots__ = ()

    handed_out = False
