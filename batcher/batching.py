"""The batcher: the same four verbs for any record and any batch function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import repeat
from typing import Generic, Never, TypeVar

from batcher._core.model.entries import NO_EXTRAS, Entry, Extras, LinkedEntry
from batcher._shell.accepting import accept_all, accept_group, accept_in_turn, accept_now, extras_of
from batcher._shell.hooks import linking
from batcher._shell.misuse import (
    check_batch_function,
    check_many,
    check_plain_function,
    misplaced,
    name_unhashable,
)
from batcher._shell.receipts import Receipt, result_of
from batcher._shell.runtime import NOTHING, Runtime
from batcher._shell.shell import Shell
from batcher._shell.steps import IN_STEP
from batcher._shell.undelivered import OnUndelivered
from batcher._shell.workers import working_for
from batcher.destinations.function import Function, VerifyFunction, WriteFunction
from batcher.events import Hook
from batcher.outcomes import Outcome
from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy, Seconds

R = TypeVar("R")
T = TypeVar("T")


class Batcher(Shell, Generic[R, T]):
    """Coalesces single records into batches, and gives every caller the fate of its own record.

    Use it as ``async with Batcher(write) as batcher``; it has no other start or stop.

    :param write: ``async def write(key, records)``: makes one call and returns one item per record, in
        order. An item is a value (the record is written, and ``submit()`` returns the value), an
        outcome, an exception (the record is rejected; or unknown, if it is a timeout, an ``OSError`` or the
        transport error of an HTTP library) or :class:`Retry`. It may raise :class:`Retry` for the whole
        batch, or :class:`Refused` if nothing of it was applied. Whatever else it raises makes
        all records of the batch unknown, unless *atomic* is set.
    :param auto_batch: when a batch is due; by default 100 records, 1 MB, 0.05 s
    :param retry: when to try again; by default for 60 s, and never what may have been applied
    :param limits: ceilings of what is pending and in flight
    :param deadline: seconds after which a record is not sent any more whose submit does not say; None is never
    :param atomic: a raise of *write* means that nothing was applied, so the batch is sent again in
        halves until the culprit stands alone (a timeout or a transport error still leaves it unknown)
    :param verify: ``async def verify(key, records)``, used under ``RetryPolicy(on_unknown="verify")`` for records whose
        answer was lost. It returns per record, in order: what *write* would have returned, if the record is there;
        ``NotWritten("absent")`` if it is not, and may be sent again without the risk of a duplicate, even if the lost
        call is carried out late; ``Unknown(why)`` if nobody knows. If it raises, it is called again later.
    :param size_of: returns the size of one record in bytes; without it bytes are not counted
    :param on_event: called in the event loop with each :class:`Event`, or several such; what one raises is logged
    :param on_undelivered: a plain function, called in the event loop with the record as submitted, its outcome and the
        number of calls that carried it, for whatever ends not written and that nobody awaited when it settled: a
        receipt without a waiter or callback, a caller who was cancelled. A later ``await`` of the receipt gets the
        outcome all the same. It may submit again; what it raises is logged. Without it such outcomes are lines at
        WARNING to the logger ``batcher``
    """

    def __init__(
        self,
        write: WriteFunction[R, T],
        *,
        auto_batch: AutoBatchPolicy | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        deadline: Seconds | None = None,
        atomic: bool = False,
        verify: VerifyFunction[R, T] | None = None,
        size_of: Callable[[R], int] | None = None,
        on_event: Hook | Sequence[Hook] | None = None,
        on_undelivered: OnUndelivered | None = None,
        **misnamed: Never,
    ) -> None:
        if misnamed:
            raise misplaced(type(self).__name__, misnamed)
        check_batch_function("write", write)
        if isinstance(retry, RetryPolicy) and retry.on_unknown == "verify" and verify is None:
            raise TypeError("RetryPolicy(on_unknown='verify') needs verify=, an async function that says what is there")
        if verify is not None:
            check_batch_function("verify", verify)
        if size_of is not None:
            check_plain_function("size_of", size_of, "a function that returns the bytes of a record")
        function = Function(write, verify)
        super().__init__(
            function,
            auto_batch=auto_batch,
            retry=retry,
            limits=limits,
            deadline=deadline,
            on_event=on_event,
            atomic=atomic,
            on_undelivered=on_undelivered,
        )
        self._size_of = size_of
        self._new_entry = Entry if self._capture is None else linking(self._capture, LinkedEntry)

    async def submit(
        self,
        record: R,
        *,
        key: Hashable = None,
        identity: Hashable = None,
        max_delay: Seconds | None = None,
        deadline: Seconds | None = None,
    ) -> T:
        """Submit one record and wait for its fate.

        :param key: the lane; only records of one lane share a batch
        :param identity: equal for writes of the same remote record, in whichever lanes: they go out one
            after the other, in the order accepted
        :param max_delay: seconds that a batch opened by this record waits for company; None is the policy's
        :param deadline: seconds from now after which it is not sent any more; None is that of the Batcher, ``math.inf``
            is never. Its batch leaves in time for it. If the pause of its lane or a quota lasts for longer, the record
            is told so at once
        :returns: what the write function returned for this record; an explicit outcome as it is
        :raises RecordError: the outcome is not a success; see ``.outcome`` and ``.applied``
        :raises InvalidRecord: it is larger than a batch may be
        :raises BatcherClosed: the batcher takes no more records
        :raises BatcherNotOpen: not entered, or entered in another event loop
        :raises NestedSubmit: called inside *write* of the same batcher
        """
        runtime = self._runtime
        # From here on _whole(), _receipt() and Runtime.take(), unrolled: this runs for every record.
        if runtime is None or runtime.running() is not runtime.open_in or working_for():
            runtime = await self._whole("submit()")
        if deadline is None:
            deadline = self._deadline
        extras = NO_EXTRAS
        if identity is not None or max_delay is not None or deadline is not None:
            extras = extras_of(runtime, identity, max_delay, deadline)
        size = 0 if self._size_of is None else self._measure(record)
        waiter = runtime.new_waiter()
        entry = self._new_entry()
        entry.record = record
        entry.size = size
        entry.waiter = waiter
        entry.extras = extras
        try:
            runtime.open_in = IN_STEP
            verb = self._engine.submit(entry, key, runtime.now())
            runtime.open_in = runtime.gate
            if verb is not NOTHING:
                runtime.act_on(verb)
        except BaseException as error:
            runtime.cut_off(error, entry)
            if isinstance(error, TypeError):
                raise name_unhashable(error, key=key, identity=identity)  # noqa: B904
            raise
        try:
            await waiter
        except BaseException:
            runtime.abandon((entry,))
            raise
        verdict = entry.verdict
        # Not isinstance(), which looks twice at what is no instance.
        result: T = result_of(entry) if issubclass(type(verdict), Outcome) else verdict
        return result

    def submit_nowait(
        self,
        record: R,
        *,
        key: Hashable = None,
        identity: Hashable = None,
        max_delay: Seconds | None = None,
        deadline: Seconds | None = None,
    ) -> Receipt[T]:
        """Submit one record without waiting for anything; also from a callback of the loop.

        :returns: the receipt; nobody needs to await it
        :raises Overloaded: no place is free, or others wait for one
        """
        runtime = self._opened("submit_nowait()", waits=False)
        try:
            return accept_now(runtime, self._receipt(runtime, record, identity, max_delay, deadline), key)
        except TypeError as error:
            raise name_unhashable(error, key=key, identity=identity)  # noqa: B904

    async def enqueue(
        self,
        record: R,
        *,
        key: Hashable = None,
        identity: Hashable = None,
        max_delay: Seconds | None = None,
        deadline: Seconds | None = None,
    ) -> Receipt[T]:
        """Submit one record and wait for a place only, not for its fate.

        :returns: the receipt; nobody needs to await it
        """
        runtime = await self._whole("enqueue()")
        try:
            return await accept_in_turn(runtime, self._receipt(runtime, record, identity, max_delay, deadline), key)
        except TypeError as error:
            raise name_unhashable(error, key=key, identity=identity)  # noqa: B904

    async def submit_all(
        self,
        records: Iterable[R],
        *,
        key: Hashable = None,
        identities: Iterable[Hashable] | None = None,
        deadline: Seconds | None = None,
        all_or_none: bool = False,
    ) -> list[Outcome]:
        """Submit many records and wait for the fate of each. The last one in makes their batch due.

        :param identities: one per record, None where unknown
        :param all_or_none: they are a group: a call of their own, written together or not at all. That is for *write*
            to keep: it applies all of the call or nothing, and raises :class:`Refused` then, or anything with *atomic*.
            A group that it applied in part is told as it is, and logged
        :returns: the outcomes in the order of *records*, failures too: nothing is raised for them. A
            record that can never be written is :class:`Rejected`.
        :raises InvalidGroup: with *all_or_none*: too many, too large, or two of one identity
        """
        runtime = await self._whole("submit_all()")
        check_many(records, "record")
        records = list(records)
        names = None if identities is None else list(identities)
        if names is not None and len(names) != len(records):
            raise ValueError(f"identities must have one item per record: {len(names)} for {len(records)} records")
        if not records:
            return []
        deadline = self._in_time(deadline)
        extras: Iterable[Extras] = repeat(NO_EXTRAS)
        try:
            if names is not None or deadline is not None:
                # A delay of 0 brings forward what these wait for; complete() makes the lane itself due.
                extras = [
                    extras_of(runtime, identity, None if identity is None else 0.0, deadline)
                    for identity in names or repeat(None, len(records))
                ]
            if all_or_none:
                return await accept_group(runtime, self._entries(records, extras), key)
            return await accept_all(runtime, self._entries(records, extras), [(key, len(records))])
        except TypeError as error:
            raise name_unhashable(error, key=key, **{f"identities[{n}]": name for n, name in enumerate(names or ())})  # noqa: B904

    def _entries(self, records: Iterable[R], extras: Iterable[Extras]) -> list[Entry]:
        """Return records that nobody waits for one by one."""
        entries = []
        for record, its_extras in zip(records, extras, strict=False):
            entry = self._new_entry()
            entry.record = record
            entry.size = 0 if self._size_of is None else self._measure(record)
            entry.waiter = None
            entry.extras = its_extras
            entries.append(entry)
        return entries

    def _receipt(
        self, runtime: Runtime, record: R, identity: Hashable, max_delay: Seconds | None, deadline: Seconds | None
    ) -> Receipt[T]:
        size = self._measure(record)
        extras = extras_of(runtime, identity, max_delay, self._in_time(deadline))
        return self._linked(Receipt(runtime, record, size, extras))

    def _measure(self, record: R) -> int:
        if self._size_of is None:
            return 0
        size = self._size_of(record)
        if not isinstance(size, int) or size < 0:
            shown = size if isinstance(size, int) else type(size).__name__
            raise TypeError(f"size_of must return a number of bytes, not {shown}")
        return size
