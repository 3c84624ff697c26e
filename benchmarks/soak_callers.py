"""What the callers of the soak do, one action after the other, until the time is up."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import anyio
import attrs

from batcher import BatcherClosed, Receipt, RecordError, Write, Writer
from batcher.outcomes import Outcome, Written
from benchmarks.soak_ledger import DELETED, Kept, Ledger, Round
from benchmarks.soak_providers import Provider

_BAD = 0.01
_BUCKET = 0.01


class Waits:
    """How long callers waited: counts by the hundredth of a second, of a size that does not grow."""

    def __init__(self) -> None:
        self._counts = array("Q", [0]) * 20_000

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[min(int(seconds / _BUCKET), len(self._counts) - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Return what *percent* of the waits do not exceed, in seconds, to the hundredth."""
        left = sum(self._counts) * percent / 100
        for bucket, counted in enumerate(self._counts):
            left -= counted
            if left <= 0:
                return (bucket + 1) * _BUCKET
        return 0.0


@attrs.define
class Caller:
    """One task, and the record that it goes on writing to."""

    among: Round | None = None
    kept: Kept | None = None
    value: int = 0
    keyed: bool = False
    """It can be upserted."""


class Load:
    """What the callers share."""

    def __init__(self, writer: Writer, ledger: Ledger, provider: Provider, seed: int) -> None:
        self._writer = writer
        self._ledger = ledger
        self._provider = provider
        self._chance = Random(seed)
        self.over = False
        self.callers = 0
        """Those that have not come to their end."""
        self.ended = anyio.Event()
        """All of them have."""
        self.submitted = self.cancelled = self.turned_away = 0
        self.told: Counter[str] = Counter()
        """Outcomes that callers saw, by kind."""
        self.waits = Waits()
        actions: dict[Callable[[Caller, Round], Awaitable[None]], float] = {
            self._create: 35,
            self._update: 20,
            self._update_twice: 5,
            self._upsert: 20,
            self._delete: 5,
            self._enqueue: 8,
            self._withdraw: 4,
            self._cancel: 3,
            self._group: 0.3,  # each is a call of its own, and calls are what there are few of
        }
        self._actions, self._weights = list(actions), list(actions.values())

    async def run(self) -> None:
        """Be one caller, until the time is up or the writer closes."""
        caller = Caller()
        self.callers += 1
        try:
            while not self.over:
                (action,) = self._chance.choices(self._actions, self._weights)
                among = self._ledger.current
                if caller.among is not among:
                    caller = Caller(among)
                with among.action():
                    await action(caller, among)
        except BatcherClosed:
            pass
        finally:
            self.callers -= 1
            if not self.callers:
                self.ended.set()

    # Actions

    async def _create(self, caller: Caller, among: Round) -> None:
        kept, write = self._new(among)
        outcome = await self._submit(kept, 0, write)
        if isinstance(outcome, Written) and outcome.record_id is not None:
            caller.kept, caller.value, caller.keyed = kept, 0, False

    async def _update(self, caller: Caller, among: Round) -> None:
        if caller.kept is None or caller.kept.id is None:
            await self._create(caller, among)
            return
        caller.value += 1
        await self._submit(caller.kept, caller.value, self._change(among, caller.kept, caller.value))
        self._let_go(caller)

    async def _update_twice(self, caller: Caller, among: Round) -> None:
        """Two writes of one record at the same time: they go out in order."""
        kept = caller.kept
        if kept is None or kept.id is None:
            await self._create(caller, among)
            return
        values = (caller.value + 1, caller.value + 2)
        began = time.monotonic()
        first = await self._enqueued(self._change(among, kept, values[0]))
        try:
            second = await self._enqueued(self._change(among, kept, values[1]))
        finally:  # also if the writer closed between the two
            self._note(kept, values[0], await self._fate(first), began)
        self._note(kept, values[1], await self._fate(second), began)
        caller.kept, caller.value = kept, values[-1]
        self._let_go(caller)

    async def _upsert(self, caller: Caller, among: Round) -> None:
        """Of a new record, or of the one that this caller has upserted before."""
        if caller.kept is None or not caller.keyed:
            caller.kept, caller.value, caller.keyed = self._ledger.new(among), -1, True
        caller.value += 1
        kept, by = caller.kept, self._provider.by
        record = {by: f"r{kept.number}", "n": str(kept.number), "v": str(caller.value)}
        await self._submit(kept, caller.value, Write(among.object, "upsert", record, by=by))
        self._let_go(caller)

    async def _delete(self, caller: Caller, among: Round) -> None:
        kept, caller.kept = caller.kept, None
        if kept is None or kept.id is None:
            await self._create(caller, among)
            return
        await self._submit(kept, DELETED, Write(among.object, "delete", {"id": kept.id}))

    async def _enqueue(self, caller: Caller, among: Round) -> None:
        kept, write = self._new(among)
        began = time.monotonic()
        receipt = await self._enqueued(write)
        self._note(kept, 0, await self._fate(receipt), began)

    async def _withdraw(self, caller: Caller, among: Round) -> None:
        """Take a record back, soon after: in time or not."""
        kept, write = self._new(among)
        receipt = await self._enqueued(write)
        await anyio.sleep(self._chance.uniform(0.0, 2.0))
        receipt.withdraw()
        self._note(kept, 0, await self._fate(receipt), None)

    async def _cancel(self, caller: Caller, among: Round) -> None:
        """Do not wait for the end."""
        kept, write = self._new(among)
        with anyio.move_on_after(self._chance.uniform(0.0, 2.0)):
            await self._submit(kept, 0, write)

    async def _group(self, caller: Caller, among: Round) -> None:
        members = [self._new(among) for _ in range(self._chance.randrange(2, 20))]
        began = time.monotonic()
        self.submitted += len(members)
        try:
            outcomes = await self._writer.submit_all([write for _, write in members], all_or_none=True)
        except BatcherClosed:
            self.turned_away += len(members)
            raise
        if len({outcome.applied for outcome in outcomes}) > 1:
            self._ledger.say(f"{among.object}: members of a group were told different things")
        for (kept, _), outcome in zip(members, outcomes, strict=True):
            self._note(kept, 0, outcome, began)

    # Their parts

    def _new(self, among: Round) -> tuple[Kept, Write]:
        kept = self._ledger.new(among)
        bad = self._provider.bad if self._chance.random() < _BAD else {}
        return kept, Write(among.object, "create", {"n": str(kept.number), "v": "0", **bad})

    def _change(self, among: Round, kept: Kept, value: int) -> Write:
        return Write(among.object, "update", {"id": kept.id, "v": str(value)})

    def _let_go(self, caller: Caller) -> None:
        """Write no more to a record of which nobody knows what it is."""
        if caller.kept is not None and caller.kept.doubted:
            caller.kept = None

    async def _submit(self, kept: Kept, value: int, write: Write) -> Outcome:
        began = time.monotonic()
        self.submitted += 1
        outcome: Outcome
        try:
            outcome = await self._writer.submit(write)
        except RecordError as error:
            outcome = error.outcome
        except BatcherClosed:
            self.turned_away += 1
            raise
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            kept.note(value, None)
            raise
        self._note(kept, value, outcome, began)
        return outcome

    async def _enqueued(self, write: Write) -> Receipt[Any]:
        self.submitted += 1
        try:
            return await self._writer.enqueue(write)
        except BatcherClosed:
            self.turned_away += 1
            raise

    async def _fate(self, receipt: Receipt[Any]) -> Outcome:
        try:
            await receipt
        except RecordError as error:
            return error.outcome
        assert receipt.outcome is not None, "it was awaited"
        return receipt.outcome

    def _note(self, kept: Kept, value: int, outcome: Outcome, began: float | None) -> None:
        if began is not None:
            self.waits.add(time.monotonic() - began)
        self.told[outcome.kind] += 1
        kept.note(value, outcome)
        if isinstance(outcome, Written) and outcome.record_id is not None:
            if kept.id not in (None, outcome.record_id):
                self._ledger.say(f"record {kept.number} was told two ids")
            kept.id = outcome.record_id
