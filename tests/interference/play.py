"""A play that uses every verb, and the laws that hold whoever interferes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import sniffio

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherError,
    Limits,
    Outcome,
    Receipt,
    RecordError,
    Refused,
    Retry,
    RetryPolicy,
)


class Alarm(Exception):
    """What the handler of a signal raises."""


class Play:
    """One batcher, all verbs, and what becomes of each record.

    :param intrude: what interferes, given this play; called at some bytecode
    """

    def __init__(self, intrude: Callable[[Play], object] | None = None) -> None:
        self.applied: Counter[str] = Counter()  # what the destination holds
        self.told: dict[str, list[str]] = {}  # what the caller of each record was told: applied or not
        self.receipts: list[Receipt[Any]] = []
        self.called_back: Counter[str] = Counter()
        self._by_hand: list[Coroutine[Any, Any, Any]] = []
        self.scope: anyio.CancelScope | None = None
        self.trouble: BaseException | None = None
        self._intrude = intrude
        self._seen: set[str] = set()
        self._strangers = 0
        self.batcher = Batcher(
            self._write,
            auto_batch=AutoBatchPolicy(max_records=3, max_delay=0.05),
            retry=RetryPolicy(deadline=60, backoff_base=0.1),
            limits=Limits(max_in_flight=2, max_pending_records=9, max_lane_records=9, shutdown_timeout=10),
        )

    def intrude(self) -> None:
        """Do what interferes."""
        assert self._intrude is not None
        self._intrude(self)

    def stranger(self) -> str:
        """Return a record that is not in the script."""
        self._strangers += 1
        return f"stranger {self._strangers}"

    async def _write(self, key: str, records: list[str]) -> list[Any]:
        await anyio.sleep(0.01)
        first = [record for record in records if record not in self._seen]
        self._seen.update(first)
        if "poison" in records:
            raise Refused("nobody knows who it was")
        answers: list[Any] = []
        for record in records:
            if record.startswith("again") and record in first:
                answers.append(Retry("later"))
            elif record.startswith("bad"):
                answers.append(ValueError("refused"))
            else:
                self.applied[record] += 1
                answers.append(f"id of {record}")
        return answers

    # The callers

    async def _submit(self, record: str, **options: Any) -> None:
        self.told[record] = ["nothing"]  # nobody is told if he is cancelled
        try:
            await self.batcher.submit(record, **options)
            self.told[record] = ["yes"]
        except RecordError as error:
            self.told[record] = [error.applied]
        except (BatcherError, Alarm):
            return

    async def _enqueue(self, record: str, **options: Any) -> None:
        try:
            receipt = await self.batcher.enqueue(record, **options)
        except (BatcherError, Alarm):
            return
        self.receipts.append(receipt)
        try:
            await receipt
        except (BatcherError, Alarm):
            return

    async def _submit_all(self, *records: str, **options: Any) -> None:
        try:
            outcomes = await self.batcher.submit_all(records, **options)
        except (BatcherError, Alarm):
            return
        for record, outcome in zip(records, outcomes, strict=True):
            self.told[record] = [outcome.applied]

    def submit_nowait(self, record: str, **options: Any) -> None:
        """Submit from code that cannot wait, and have it noted when it has its outcome."""
        try:
            receipt = self.batcher.submit_nowait(record, **options)
        except BatcherError:
            return
        self.receipts.append(receipt)
        receipt.add_done_callback(lambda receipt: self.called_back.update([record]))

    def start_by_hand(self, verb: Coroutine[Any, Any, Any]) -> None:
        """Run *verb* until it waits, and leave it there. On asyncio only: on trio it would be the task that waits."""
        if sniffio.current_async_library() == "asyncio":
            verb.send(None)
            self._by_hand.append(verb)
        else:
            verb.close()

    def close_by_hand(self) -> None:
        """Close what was started by hand, as the garbage collector does."""
        while self._by_hand:
            self._by_hand.pop().close()

    async def _flush(self) -> None:
        try:
            await self.batcher.flush()
        except (BatcherError, Alarm):
            return

    # The play

    async def run(self) -> None:
        """Play it; whatever comes out of the batcher is :attr:`trouble`."""
        try:
            async with self.batcher:
                await self._acts()
        except (BatcherError, Alarm) as error:
            self.trouble = error

    async def _acts(self) -> None:
        try:
            self.submit_nowait("first", key="a")
            self.start_by_hand(self.batcher.submit("by hand", key="h", max_delay=2))
            self.start_by_hand(self.batcher.submit_all(["h1", "h2", "h3", "h4"], key="h"))
            async with anyio.create_task_group() as tasks:
                for record in ("one", "two", "bad", "again"):
                    tasks.start_soon(self._submit, record)
                for record in ("before", "after"):
                    tasks.start_soon(partial(self._submit, record, key=record, identity="ada"))
                tasks.start_soon(partial(self._submit_all, "g1", "g2", key="g", all_or_none=True))
                tasks.start_soon(partial(self._submit_all, "s1", "s2", "s3", "s4", key="s"))
                tasks.start_soon(self._enqueue, "queued")
                with anyio.CancelScope() as self.scope:
                    await self._submit("cancelled", key="c", max_delay=5)
            async with anyio.create_task_group() as tasks:
                for record in ("poison", "good", "fine"):
                    tasks.start_soon(partial(self._submit, record, key="p"))
                tasks.start_soon(partial(self._submit, "in time", deadline=30))
                self.submit_nowait("withdrawn", key="w", max_delay=50)
                self.receipts[-1].withdraw()
                tasks.start_soon(self._flush)
            self.submit_nowait("left", key="z", max_delay=50)
            self.close_by_hand()
        except (BatcherError, Alarm) as error:
            self.trouble = error
        except ExceptionGroup as group:
            self.trouble, rest = group.split((BatcherError, Alarm))
            if rest is not None:
                raise rest from None

    # The laws

    def check(self) -> None:
        """Check that nobody waits, and that each was told the truth."""
        statistics = self.batcher.statistics()
        assert statistics.pending == 0, f"left behind: {statistics}"
        for receipt in self.receipts:
            assert receipt.done, f"{receipt.record!r} has no outcome"
            if isinstance(receipt.outcome, Outcome):
                self.told.setdefault(receipt.record, []).append(receipt.outcome.applied)
        for record, told in self.told.items():
            for applied in told:
                if applied == "yes":
                    assert self.applied[record] == 1, f"{record!r} was told to be written"
                elif applied == "no":
                    assert self.applied[record] == 0, f"{record!r} was told not to be written"
        assert max(self.applied.values(), default=0) <= 1, f"doubled: {self.applied}"
        assert max(self.called_back.values(), default=0) <= 1, f"called back twice: {self.called_back}"
        for receipt in self.receipts:
            if receipt.record.startswith(("first", "withdrawn", "left", "stranger")) and self.trouble is None:
                assert self.called_back[receipt.record] == 1, f"nobody was called back for {receipt.record!r}"
