"""The callers: hand records over by every verb, give up, flush, and note what they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

import anyio
from anyio.abc import TaskGroup

from batcher import (
    BatcherClosed,
    InvalidRecord,
    Outcome,
    Overloaded,
    Receipt,
    RecordError,
    Written,
)
from batcher.timing import Timing
from tests.simulation.faces import Face
from tests.simulation.journals import Journal, Submission
from tests.simulation.plans import RECORDS, Plan
from tests.simulation.watching import Watch
from tests.simulation.workloads import Workload

Action = Callable[[], object]
Use = Callable[[list[Submission]], Coroutine[Any, Any, None]]


class Callers:
    """Everybody who uses the writer."""

    def __init__(self, plan: Plan, journal: Journal, watch: Watch, face: Face, tasks: TaskGroup) -> None:
        self.plan = plan
        self.journal = journal
        self.watch = watch
        self.face = face
        self.tasks = tasks
        self._timeline: list[tuple[float, int, Action]] = []
        self._scopes: dict[anyio.CancelScope, None] = {}  # of those who may be cancelled
        self._unsettled: dict[Any, int] = {}  # by identity
        self._places: Counter[Any] = Counter()  # by lane, and by tenant where tenants share
        self._orders = 0

    async def come(self, arrivals: list[tuple[float, list[Submission]]], workload: Workload) -> None:
        """Hand everything over in its time, or enough of it if the writer is left in mid-storm."""
        began = self.journal.now()
        for at, handful in arrivals:
            self._schedule(began + at, partial(self._hand_over, handful))
        end = arrivals[-1][0]
        for at in workload.mass_cancels(end):
            self._schedule(began + at, partial(self._cancel_many, workload))
        for at in workload.flushes(end):
            self._schedule(began + at, self._start_flush)
        heapify(self._timeline)
        to_the_end = self.plan.ending == "drained"
        while self._timeline and (to_the_end or self.face.shell.statistics().accepted < RECORDS):
            at, _, action = heappop(self._timeline)
            if at > self.journal.now():
                await anyio.sleep_until(at)
            action()

    def _schedule(self, at: float, action: Action) -> None:
        self._timeline.append((at, len(self._timeline), action))

    def _later(self, seconds: float, action: Action) -> None:
        self._orders += 1
        heappush(self._timeline, (self.journal.now() + seconds, 10**9 + self._orders, action))

    # Handing over

    def _hand_over(self, handful: list[Submission]) -> None:
        verb = handful[0].verb
        if verb == "submit_nowait":
            self._submit_nowait(handful[0])
        elif verb == "enqueue":
            self._start(handful, self._enqueue)
        elif verb == "submit":
            self._start(handful, self._submit)
        else:
            self._start(handful, self._submit_all)

    def _start(self, handful: list[Submission], use: Use) -> None:
        if handful[0].gives_up_after is None and not self.plan.crowd.mass_cancels:
            self.tasks.start_soon(use, handful)
        else:
            self.tasks.start_soon(self._until_cancelled, handful, use)

    async def _until_cancelled(self, handful: list[Submission], use: Use) -> None:
        after = handful[0].gives_up_after
        with anyio.CancelScope() as scope:
            self._scopes[scope] = None
            if after is not None and handful[0].verb != "enqueue":
                self._later(after, scope.cancel)
            await use(handful)
        del self._scopes[scope]

    def _offer(self, submission: Submission) -> None:
        """Note that a record is handed over in this very moment."""
        submission.order = len(self.journal.submissions)
        submission.offered_at = self.journal.now()
        self.journal.submissions.append(submission)
        self.watch.offered(submission)
        if submission.identity is not None:
            ahead = self._unsettled.get(submission.identity, 0)
            submission.alone = not ahead and submission.identity not in self.watch.carriers
            self._unsettled[submission.identity] = ahead + 1
        if self.plan.roomy:
            self._accept(submission)

    def _accept(self, submission: Submission) -> None:
        submission.accepted_at = self.journal.now()
        self.watch.accepted(submission, submission.accepted_at)

    def _refuse(self, submission: Submission, why: str) -> None:
        submission.refused = why
        if submission.accepted_at is not None:
            submission.accepted_at = None
            self.watch.taken_back(submission)
        self._settled(submission)

    def _settled(self, submission: Submission) -> None:
        if submission.identity is not None:
            self._unsettled[submission.identity] -= 1

    def _submit_nowait(self, submission: Submission) -> None:
        self._offer(submission)
        try:
            receipt = self.face.submit_nowait(submission)
        except (Overloaded, BatcherClosed, InvalidRecord) as error:
            self._refuse(submission, type(error).__name__)
            return
        self._hold(submission, receipt)

    async def _enqueue(self, handful: list[Submission]) -> None:
        (submission,) = handful
        self._offer(submission)
        try:
            receipt = await self.face.enqueue(submission)
        except (BatcherClosed, InvalidRecord) as error:
            self._refuse(submission, type(error).__name__)
        except anyio.get_cancelled_exc_class():
            self._cancelled([submission])
            raise
        else:
            self._hold(submission, receipt)

    def _hold(self, submission: Submission, receipt: Receipt[Any]) -> None:
        if submission.accepted_at is None:
            self._accept(submission)
        if receipt.done:  # before its caller had its turn: the place may be somebody else's already
            self._tell(submission, receipt.outcome, receipt.timing)
            return
        self._count(submission, 1)
        receipt.add_done_callback(partial(self._hear, submission))
        if submission.gives_up_after is not None:
            self._later(submission.gives_up_after, lambda: self._withdraw(submission, receipt))

    def _hear(self, submission: Submission, receipt: Receipt[Any]) -> None:
        self._count(submission, -1)
        self._tell(submission, receipt.outcome, receipt.timing)

    def _count(self, submission: Submission, change: int) -> None:
        """Count the places that are held by those whose acceptance is known; there may be more."""
        limits = self.plan.limits
        for holder in (submission.lane, submission.tenant) if limits.fairness is not None else (submission.lane,):
            self._places[holder] += change
            held, most = self._places[holder], limits.lane_records
            self.journal.check("P9 places", held <= most, f"{holder} holds {held} places, {most} allowed")
            if change > 0 and held * 2 > most:
                self.journal.met(f"P9: a {'tenant' if isinstance(holder, int) else 'lane'} held most of its places")

    def _withdraw(self, submission: Submission, receipt: Receipt[Any]) -> None:
        if receipt.withdraw():
            submission.withdrawn = True
            self.watch.taken_back(submission)

    async def _submit(self, handful: list[Submission]) -> None:
        (submission,) = handful
        self._offer(submission)
        try:
            written = await self.face.submit(submission)
        except RecordError as error:
            submission.own &= error.record is submission.write or error.record == submission.tag
            self._tell(submission, error.outcome, error.timing)
        except (BatcherClosed, InvalidRecord) as error:
            self._refuse(submission, type(error).__name__)
        except anyio.get_cancelled_exc_class():
            self._cancelled([submission])
            raise
        else:
            self._tell(submission, written if isinstance(written, Outcome) else Written(data=written))

    async def _submit_all(self, handful: list[Submission]) -> None:
        all_or_none = handful[0].verb == "group"
        for submission in handful:
            self._offer(submission)
        try:
            outcomes = await self.face.submit_all(handful, all_or_none=all_or_none)
        except (BatcherClosed, InvalidRecord) as error:
            for submission in handful:
                self._refuse(submission, type(error).__name__)
        except anyio.get_cancelled_exc_class():
            self._cancelled(handful)
            raise
        else:
            for submission, outcome in zip(handful, outcomes, strict=True):
                self._tell(submission, outcome)

    # Giving up

    def _cancel_many(self, workload: Workload) -> None:
        for scope in list(self._scopes):
            if workload.rng.random() < 0.7:
                scope.cancel()

    def _cancelled(self, handful: list[Submission]) -> None:
        for submission in handful:
            submission.cancelled_at = self.journal.now()
            submission.detached = submission.out > 0
            self.watch.taken_back(submission)  # whether it is settled nobody tells, so it counts as open for ever

    # Hearing

    def _tell(self, submission: Submission, outcome: Outcome | None, timing: Timing | None = None) -> None:
        submission.outcome, submission.timing = outcome, timing
        submission.told += 1
        submission.told_at = self.journal.now()
        self._settled(submission)
        if not submission.carried:
            self.watch.taken_back(submission)

    def _start_flush(self) -> None:
        self.tasks.start_soon(self._flush)

    async def _flush(self) -> None:
        before = [each for each in self.journal.submissions if each.accepted_at is not None and each.open]
        try:
            await self.face.shell.flush()
        except BatcherClosed:
            return
        # submit() and submit_all() hear of it in the same step of the loop, but perhaps after us.
        await anyio.lowlevel.checkpoint()
        left = [each.tag for each in before if each.open]
        self.journal.check("flush", not left, f"{len(left)} records are open after a flush, such as {left[:3]}")
        self.journal.met("flush: records were open", len(before) > 0)
