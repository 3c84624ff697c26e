"""The provider: keeps what was written, answers as its conduct says, and fails as faults befall it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from math import inf
from random import Random
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import attrs

from batcher import ErrorDetail, NotWritten, Refused, Rejected, Retry, Write, Written
from batcher.destinations import Prepared
from batcher.policies import LaneRules, Quota
from tests.simulation.faults import FAULTS
from tests.simulation.journals import Journal, Submission
from tests.simulation.plans import Conduct

LATE = 3.0  # seconds after which a provider may still carry out a call that broke
STUBBORN = 2.0  # seconds for which a call may ignore that it is cancelled


@attrs.define(eq=False)
class Call:
    """One call, from its departure to its end."""

    lane: tuple[Any, ...]
    carried: list[Submission]
    all_or_none: bool
    at: float
    seconds: float = 0.0
    fault: str | None = None
    slow: bool = False
    troubled: bool = False
    """It falls into a brown-out, and fails with it."""
    down: bool = False
    """Nobody is there to answer it."""
    applied_if_cut_off: bool = False
    minds_locks: bool = True
    plain: bool = False
    """It was answered, and nothing is to come again."""
    refused: bool = False
    """It was refused as a whole."""

    @property
    def tenant(self) -> int:
        return self.carried[0].tenant

    asks: bool = False
    """It changes nothing, but asks what is there."""

    def doubt(self) -> None:
        """Nobody will know what became of these records."""
        for submission in self.carried:
            submission.doubted, submission.absent = True, False


class Observer(Protocol):
    """Who is told of calls."""

    def departs(self, call: Call) -> None:
        """One begins."""

    def ends(self, call: Call, now: float) -> None:
        """It has ended."""

    def pauses(self, lane: Any, after: float, now: float) -> None:
        """A lane is told to pause, for *after* seconds at least."""

    def learns(self, call: Call) -> None:
        """A call is told to be too large."""


class Window:
    """What a provider has seen of one quota in its window."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._seen: deque[tuple[float, int]] = deque()
        self._records = 0

    def exceeded(self, records: float, now: float) -> bool:
        """Return whether a call with so many records is too much now."""
        while self._seen and self._seen[0][0] + self._quota.per <= now + 1e-9:
            self._records -= self._seen.popleft()[1]
        return len(self._seen) + 1 > self._quota.calls or self._records + records > self._quota.records

    def note(self, records: int, now: float) -> None:
        """Count a call."""
        self._seen.append((now, records))
        self._records += records

    def free_in(self, now: float) -> float:
        """Return the seconds until something of it is free again."""
        return self._seen[0][0] + self._quota.per - now if self._seen else 0.0


class Provider:
    """A destination whose state is known."""

    def __init__(self, conduct: Conduct, seed: int, journal: Journal, watch: Observer, *, raw: bool = False) -> None:
        self.conduct = conduct
        self.journal = journal
        self.watch = watch
        self.raw = raw
        """Answers are handed on as they come, by position."""
        self.rng = Random(f"{seed} provider")
        self.known: dict[int, Submission] = {}
        self.rows: dict[Hashable, Submission] = {}  # what each row was written by last
        self._locks: dict[int, Call] = {}
        self._windows: dict[Any, Window] = {}
        self._late: deque[tuple[float, Call]] = deque()

    # The protocol

    def encode(self, write: Write) -> Prepared:
        """Name, number and weigh."""
        submission = self.known[_tag_of(write)]
        return Prepared(submission.lane, submission.tag, submission.size, submission.identity)

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call may carry."""
        assert isinstance(lane, tuple)
        create = lane[1].value == "create"
        return LaneRules(
            max_in_flight=self.conduct.lane_in_flight,
            idempotent=not create,
            verifiable=create and self.conduct.unique,
        )

    async def send(self, lane: Any, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Any]:
        """Make one call."""
        call = self._depart(lane, [self.known[tag] for tag in items], all_or_none)
        try:
            self._be_down(call)
            await self._take_time(call)
            answer = self._answer(call)
            call.plain = isinstance(answer, list) and not any(isinstance(each, (Retry, NotWritten)) for each in answer)
            return answer
        except Refused:
            call.refused = True
            raise
        except anyio.get_cancelled_exc_class():
            self._cut_off(call)
            if call.fault == "stubborn":
                self.journal.struck("stubborn")
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(STUBBORN)
            raise
        finally:
            self._end(call)

    async def verify(self, lane: Any, items: Sequence[Any]) -> Sequence[Any]:
        """Tell which records are there; their creates are unique, so late ones do no harm."""
        call = self._depart(lane, [self.known[tag] for tag in items], False, asks=True)
        try:
            self._be_down(call)
            await anyio.sleep(call.seconds)
            answer = self._tell(call)
            call.plain = not any(isinstance(verdict, Retry) for verdict in answer)
            return answer
        finally:
            self._end(call)

    def _tell(self, call: Call) -> list[Any]:
        if call.fault is not None:
            self.journal.struck("no answer to a question")
            raise Retry("busy") if self.rng.random() < 0.5 else ConnectionResetError("reset by peer")
        for each in call.carried:
            each.absent = not each.applied
            self.journal.met(f"P7: asked, and it is {'not ' * each.absent}there")
        return [self._written(each) if each.applied else NotWritten("it is not there") for each in call.carried]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    # A call

    def _depart(self, lane: Any, carried: list[Submission], all_or_none: bool, *, asks: bool = False) -> Call:
        now, rng, conduct = self.journal.now(), self.rng, self.conduct
        self._catch_up(now)
        call = Call(lane, carried, all_or_none, now, asks=asks)
        call.seconds = (conduct.latency + conduct.per_record * len(carried)) * rng.uniform(
            1 - conduct.spread, 1 + conduct.spread
        )
        call.applied_if_cut_off = rng.random() < 0.5
        troubled = any(begin <= now < end for begin, end in conduct.brownouts)
        call.down = troubled and conduct.down
        if troubled and not call.down:
            self.journal.struck("slow in a brown-out")
            call.seconds *= 8
            call.slow = True
            call.troubled = rng.random() < 0.6
        call.fault = next((name for name, chance in conduct.faults.items() if rng.random() < chance), None)
        for submission in carried if conduct.locks and not asks else ():
            if submission.parent is not None:
                self._locks.setdefault(submission.parent, call)
        self.watch.departs(call)
        return call

    async def _take_time(self, call: Call) -> None:
        sickness = self.conduct.sick.get(call.tenant)
        if sickness == "hangs":
            self.journal.struck("tenant hangs")
            await anyio.sleep(inf)
        if call.fault in ("hangs", "stubborn"):
            self.journal.struck("hangs")
            await anyio.sleep(inf)
        await anyio.sleep(call.seconds)

    def _answer(self, call: Call) -> Sequence[Any]:
        """Return what comes back, or raise it."""
        self._be_sick(call)
        if self.conduct.sick.get(call.tenant) == "revoked":
            self.journal.struck("tenant revoked")
            return [NotWritten("the credentials are refused")] * len(call.carried)
        self._keep_quota(call)
        if call.troubled:
            self.journal.struck("failed in a brown-out")
            FAULTS[self.rng.choice(["busy", "429", "429 with Retry-After", "reset after"])](self, call)
        conduct = self.conduct
        if len(call.carried) > conduct.max_call_records and not call.all_or_none:
            self.journal.struck("too many records in a call")
            if conduct.says_too_large:
                self.journal.struck("too many records in a call, and it says so")
                self.watch.learns(call)
            raise Refused(ErrorDetail("too many", code="TOO_LARGE"), too_large=conduct.says_too_large)
        if call.fault is not None:
            self.journal.struck(call.fault)
            answer: Sequence[Any] = FAULTS[call.fault](self, call)
            return answer
        return self.apply_all(call)

    def _be_down(self, call: Call) -> None:
        if call.down:
            self.journal.struck("down")
            raise Retry("no connection")

    def _be_sick(self, call: Call) -> None:
        sickness = self.conduct.sick.get(call.tenant)
        if sickness == "unavailable":
            self.journal.struck("tenant unavailable")
            raise Retry("503")
        if sickness == "no connection":
            self.journal.struck("tenant without connection")
            raise Retry("no connection")

    def _keep_quota(self, call: Call) -> None:
        quota, conduct = self.conduct.quota, self.conduct
        if quota is None or conduct.stated:
            return
        window, now = self._window(quota, call), self.journal.now()
        if not window.exceeded(len(call.carried), now):
            window.note(len(call.carried), now)
            return
        self.journal.struck("over quota" if conduct.retry_after else "over quota, silently")
        after = window.free_in(now) if conduct.retry_after else None
        self.watch.pauses(call.lane, after or 0.0, now)
        raise Retry("429", after=after, pause_lane=True)

    def _window(self, quota: Quota, call: Call) -> Window:
        name = None if quota.by is None else quota.by(call.lane)
        return self._windows.setdefault(name, Window(quota))

    def meter(self, call: Call) -> bool:
        """Count a departing call against a quota that the library was told; return whether it is kept."""
        quota = self.conduct.quota
        if quota is None or not self.conduct.stated:
            return True
        window = self._window(quota, call)
        exceeded = window.exceeded(len(call.carried), call.at)
        window.note(len(call.carried), call.at)
        if window.exceeded(quota.records if quota.calls == inf else 1, call.at):
            self.journal.met("quota: a stated one was used up")
        return not exceeded

    def _cut_off(self, call: Call) -> None:
        self.journal.struck("cut off")
        call.doubt()
        call.minds_locks = False  # when all calls are cut off at once, in no order, none depends on another
        if call.applied_if_cut_off:
            self.journal.struck("cut off, applied all the same")
            self.carry_out(call)

    def _end(self, call: Call) -> None:
        for parent in [parent for parent, holder in self._locks.items() if holder is call]:
            del self._locks[parent]
        self.watch.ends(call, self.journal.now())

    # What is written

    def carry_out(self, call: Call, *, late: bool = False) -> None:
        """Do what a call asked for, without telling anybody."""
        before = [submission.applied for submission in call.carried]
        try:
            self.apply_all(call)
        except (Refused, Retry):
            return
        for submission, applied in zip(call.carried, before, strict=True):
            submission.applied_late |= late and submission.applied > applied

    def carry_out_later(self, call: Call) -> None:
        """Do that after the call has ended."""
        self._late.append((self.journal.now() + self.rng.uniform(0, LATE), call))

    def _catch_up(self, now: float) -> None:
        for item in [item for item in self._late if item[0] <= now]:
            self._late.remove(item)
            self.carry_out(item[1], late=True)

    def finish(self) -> None:
        """Do what is left to be done late."""
        self._catch_up(inf)

    def apply_all(self, call: Call) -> list[Any]:
        """Write the records of a call, and return what is to be said of each."""
        return self.apply(call.carried, call)

    def apply(self, submissions: Sequence[Submission], call: Call) -> list[Any]:
        """Write some records of a call, and return what is to be said of each.

        :raises Refused: the call is refused as a whole, and nothing was written
        :raises Retry: a group is to come again
        """
        if call.all_or_none:
            self._check_group(submissions, call)
        elif self.conduct.refusal != "verdict":
            bad = [submission for submission in submissions if submission.bad]
            if bad:
                named = self.conduct.refusal == "named"
                self.journal.struck("bad record, the call refused" + " and it named" * named)
                self._refuse(bad, call, named=named)
        return [self._apply(submission, call) for submission in submissions]

    def _check_group(self, submissions: Sequence[Submission], call: Call) -> None:
        bad = [each for each in submissions if each.bad or self._is_duplicate(each)]
        if bad:
            self.journal.struck("bad member of a group")
            self._refuse(bad, call, named=self.conduct.refusal != "opaque")
        if any(self._is_locked(submission, call) for submission in submissions):
            self.journal.struck("row locked")
            raise Retry("row locked")

    def _refuse(self, bad: Sequence[Submission], call: Call, *, named: bool) -> None:
        errors = {call.carried.index(submission): ErrorDetail(f"bad {submission.tag}") for submission in bad}
        alone = next(iter(errors.values())) if len(call.carried) == 1 else ErrorDetail("something is wrong")
        raise Refused(alone, errors if named else None)

    def _is_locked(self, submission: Submission, call: Call) -> bool:
        if submission.parent is None or not call.minds_locks:
            return False
        return self._locks.get(submission.parent, call) is not call

    def _is_duplicate(self, submission: Submission) -> bool:
        return self.conduct.unique and submission.create and submission.applied > 0

    def _apply(self, submission: Submission, call: Call) -> Any:
        if self._is_locked(submission, call):
            self.journal.struck("row locked")
            return Retry("row locked")
        if submission.bad:
            self.journal.struck("bad record")
            return ValueError(f"bad {submission.tag}")
        if self._is_duplicate(submission):
            self.journal.struck("duplicate")
            return Rejected(ErrorDetail(f"bad {submission.tag}", code="DUPLICATE"))
        submission.applied += 1
        if submission.identity is not None:
            self.rows[submission.identity] = submission
        return submission.tag if self.conduct.plain else self._written(submission)

    def _written(self, submission: Submission) -> Written:
        return Written(f"id-{submission.tag}", data=submission.tag)


def _tag_of(write: Write) -> int:
    """Return the number that every record carries; a delete has no place for it but the id."""
    tag: int = write.record["tag"] if "tag" in write.record else int(write.record["id"].partition("#")[2])
    return tag
