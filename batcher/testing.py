"""For the tests of your own application: virtual time, and a destination that answers as it is told.

In virtual time nobody waits: when every task sleeps, the clock jumps to the next timer. It is for what stays inside the
event loop. A socket about to become readable and a worker thread about to finish look idle to it.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Self, TypeAlias

import anyio
import attrs

from batcher._shell.statistics import Statistics
from batcher.destinations import Prepared
from batcher.destinations._http.encoding import check_json, encode
from batcher.destinations._http.verifying import Found, Sent, outcomes_of
from batcher.outcomes import Outcome, Refused, Retry, Verdict, Written
from batcher.policies import LaneRules, to_seconds
from batcher.writes import Write, WriteType

__all__ = ["ScriptedDestination", "SentCall", "check_conserved", "lost", "virtual_time"]

# Real seconds after which a loop without any timer is taken to hang. Only another thread could still wake it.
_PATIENCE = 5.0
# Seconds of virtual time that no test needs. A timer that never fires makes the loop jump from day to day for ever.
_FOREVER = 1e10


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            ready = super().select(_PATIENCE)
        else:
            self.now += max(0.0, timeout)
        if not ready and (timeout is None or self.now > _FOREVER):
            raise RuntimeError("every task waits for something that cannot happen")
        return ready


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # A timer that is due within the clock's resolution fires at once; a power of two keeps whole and half
        # seconds exact.
        self._clock_resolution = 2.0**-20

    def time(self) -> float:
        return self._jumping.now


def virtual_time(backend: Literal["asyncio", "trio"]) -> dict[str, Any]:
    """Return backend options for one run in virtual time; a clock belongs to one run.

    They are for ``anyio.run(main, backend=backend, backend_options=...)``, and for a fixture ``anyio_backend`` of the
    pytest plugin of anyio that returns ``(backend, options)``.

    :raises ModuleNotFoundError: trio is not installed
    """
    if backend == "asyncio":
        return {"loop_factory": _VirtualTimeLoop}
    if backend != "trio":
        raise ValueError(f"backend must be 'asyncio' or 'trio', not {backend!r}")
    from trio.testing import MockClock

    return {"clock": MockClock(autojump_threshold=0)}


@attrs.frozen
class SentCall:
    """One call that arrived."""

    at: float
    """On the clock of the event loop."""
    object: str
    type: WriteType
    by: str | None
    """The field that upserts match on."""
    records: tuple[dict[str, Any], ...] = attrs.field(repr=False)
    all_or_none: bool


Step: TypeAlias = Sequence[Verdict] | Exception | Callable[["ScriptedDestination", SentCall], Sequence[Verdict]]


def lost(*, applied: bool) -> Step:
    """Return a step that loses the answer of a call: what it carried was applied, or was not."""

    def step(destination: ScriptedDestination, call: SentCall) -> Sequence[Verdict]:
        if applied:
            destination.apply(call)
        raise Retry("the answer was lost", applied="maybe")

    return step


class ScriptedDestination:
    """A destination in memory that answers each call by the next step of its script, and then by writing.

    A step is a list with one verdict per record, an exception to raise, :func:`lost`, or a function of the destination
    and the call that returns verdicts or raises. Verdicts of a step are told and change nothing; only :meth:`apply`
    does. Updates, upserts and deletes may be sent again, as at most real destinations. Where an object has a unique
    field, :meth:`verify` tells which creates were applied, and a second record with the same value is refused.

    :param script: the steps
    :param unique: object to a field whose values no two records share
    :param seconds: seconds or timedelta that every call takes
    :param max_records: records that one call may carry
    """

    def __init__(
        self,
        *script: Step,
        seconds: float | timedelta = 0.0,
        max_records: int = 100,
        unique: Mapping[str, str] | None = None,
    ) -> None:
        self.script: list[Step] = list(script)
        """The steps to come."""
        self.calls: list[SentCall] = []
        """What has arrived, in order."""
        self.questions: list[SentCall] = []
        """The calls about which :meth:`verify` was asked, in order."""
        self.records: dict[str, dict[str, dict[str, Any]]] = {}
        """What was applied: object to id to record."""
        self._seconds = to_seconds("seconds", seconds)
        self._max_records = LaneRules(max_records=max_records).max_records
        self._unique = dict(unique or {})
        self._ids = 0

    def encode(self, write: Write) -> Prepared:
        """Take every write that JSON can hold.

        :raises InvalidRecord: a value that JSON does not hold
        """
        record = check_json(write.record)
        lane = (write.object, write.type, write.by, tuple(sorted(write.headers.items())))
        identity: Hashable = None
        if write.by is not None:
            identity = (write.object, write.by, encode(record[write.by]))
        elif write.type is not WriteType.CREATE:
            identity = (write.object, "id", record["id"])
        return Prepared(lane, record, len(encode(record)) + 1, identity)

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call may carry."""
        assert isinstance(lane, tuple), "encode() made it"
        creates = lane[1] is WriteType.CREATE
        verifiable = creates and lane[0] in self._unique
        return LaneRules(max_records=self._max_records, idempotent=not creates, verifiable=verifiable)

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Note the call, and do the next step."""
        assert isinstance(lane, tuple), "encode() made it"
        call = SentCall(anyio.current_time(), lane[0], lane[1], lane[2], tuple(items), all_or_none)
        self.calls.append(call)
        step = self.script.pop(0) if self.script else None
        await anyio.sleep(self._seconds)
        if isinstance(step, Exception):
            raise step
        if step is None:
            return self.apply(call)
        return step(self, call) if callable(step) else step

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Note the question, and tell which of the records are here. It takes the time of a call."""
        assert isinstance(lane, tuple), "encode() made it"
        self.questions.append(SentCall(anyio.current_time(), lane[0], lane[1], lane[2], tuple(items), False))
        await anyio.sleep(self._seconds)
        sent = [Sent(self._value(lane[0], record), record) for record in items]
        stored = self.records.get(lane[0], {})
        found = [Found(self._value(lane[0], record), key, record) for key, record in stored.items()]
        absent = {each.key for each in sent if each.key is not None} - {each.key for each in found}
        return outcomes_of(sent, found, absent, lambda one, other: _frozen(one) == _frozen(other))

    def _value(self, kind: str, record: Mapping[str, Any]) -> str | None:
        """Return the unique value of a record, if it has one."""
        field = self._unique.get(kind)
        return _frozen({field: record[field]}) if field is not None and field in record else None

    def apply(self, call: SentCall) -> list[Verdict]:
        """Write the records of *call*, and return what a faithful service says of them.

        :raises Refused: a group of which a member cannot be written; nothing of it was
        """
        before = dict(self.records.get(call.object, {}))
        verdicts = [self._apply(call, dict(record)) for record in call.records]
        refused = {index: verdict for index, verdict in enumerate(verdicts) if isinstance(verdict, Exception)}
        if refused and call.all_or_none:
            self.records[call.object] = before
            raise Refused(list(refused.values()), refused)
        return verdicts

    def _apply(self, call: SentCall, record: dict[str, Any]) -> Verdict:
        stored, by = self.records.setdefault(call.object, {}), call.by
        key = record.pop("id", None)
        if by is not None:
            key = next((each for each, known in stored.items() if known.get(by) == record[by]), None)
        if call.type in (WriteType.UPDATE, WriteType.DELETE) and key not in stored:
            return ValueError("no record has this id")
        value = self._value(call.object, record)
        taken = value is not None and value in (self._value(call.object, known) for known in stored.values())
        if call.type is WriteType.CREATE and taken:
            return ValueError("another record has the unique value")
        if call.type is WriteType.DELETE:
            del stored[key]
            return Written(key)
        if key is None:
            self._ids += 1
            key = str(self._ids)
        stored[key] = {**stored.get(key, {}), **record}
        return Written(key)

    def check(self, told: Iterable[tuple[Write, Outcome]]) -> None:
        """Compare what callers of creates were told with what is here. Give all creates of the test.

        :param told: each create, and its outcome
        :raises AssertionError: a record that was told to be written is not here, one that was told not to be is, or one
            is here more often than it can be
        """
        stored = {kind: Counter(map(_frozen, records.values())) for kind, records in self.records.items()}
        certain: Counter[tuple[str, str]] = Counter()
        possible: Counter[tuple[str, str]] = Counter()
        for write, outcome in told:
            record = (write.object, _frozen(check_json(write.record)))
            certain[record] += outcome.applied == "yes"
            possible[record] += outcome.applied != "no"
        for (kind, text), most in possible.items():
            found, least = stored.get(kind, Counter())[text], certain[kind, text]
            there = f"a record of {kind!r} is there {found} times"
            assert found >= least, f"{there}, and was told to be written {least} times"
            assert found <= most, f"{there}, and can have been written {most} times"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def check_conserved(statistics: Statistics) -> None:
    """Check that no record is lost: each one accepted has its outcome, or is still under way.

    :raises AssertionError: it does not add up
    """
    assert statistics.accepted == statistics.settled + statistics.pending, f"records are lost: {statistics}"
    assert sum(statistics.outcomes.values()) == statistics.settled, f"outcomes are lost: {statistics}"


def _frozen(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)
