"""The scheduler: which lanes may have something to send now, and when to look at the others again."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

from batcher._core.fairness import FairQueue, RoundRobin, Tenants
from batcher._core.model.attempts import begun
from batcher._core.model.deadlines import Deadlines
from batcher._core.model.entries import Lane
from batcher._core.pacing import Pacing
from batcher.events import FlushReason
from batcher.policies import Limits


class Scheduler:
    """The ready queue, the lanes that fill up, and one structure for everything that happens at a time."""

    def __init__(self, limits: Limits) -> None:
        self.ready: RoundRobin | FairQueue = RoundRobin()
        self.tenants: Tenants | None = None
        if limits.fairness is not None:
            self.ready = queue = FairQueue()
            self.tenants = Tenants(limits.fairness, queue)
        self.filling: dict[Lane, None] = {}  # lanes that hold something and are not in the ready queue
        self.deadlines: Deadlines[Hashable] = Deadlines()
        self.pacing = Pacing(limits.quotas, self.deadlines)
        self.closing = False
        self.closes_at = inf

    def reschedule(self, lane: Lane, now: float) -> None:
        """Put *lane* in the ready queue if it has something due, else note when to look again."""
        held_by = lane.quota.held_by
        if lane in self.ready or held_by is not None:
            if lane.paused_until > now:
                self.deadlines.schedule(lane, lane.paused_until)  # perhaps to forget it then
            if held_by is not None:
                self.pacing.look_at(held_by, now)  # it may have less to send than before
            return
        at = lane.due_at()
        self.filling.pop(lane, None)
        if at is None:
            if lane.paused_until > now:
                self.deadlines.schedule(lane, lane.paused_until)  # to forget it then
            return
        if self.closing:
            at = -inf
        if at <= now:
            lane.due_since = min(lane.due_since, now if at == -inf else at)
        if now < lane.paused_until <= self.closes_at:
            at = max(at, lane.paused_until)
        if at <= now and lane.in_flight < lane.allowance.limit:
            self.ready.add(lane)
        elif at <= now:
            self.filling[lane] = None  # the end of a call brings it back
        else:
            self.filling[lane] = None
            self.deadlines.schedule(lane, at)

    def note_arrival(self, lane: Lane, now: float) -> None:
        """Look at *lane* after it took a record in: now if its batch is full or forced, else in time.

        A batch that is due by its delay waits for the next poll even with a delay of 0, so that what is
        submitted in one turn of the loop shares a batch.
        """
        at = lane.due_at()
        if at is None or at == -inf or self.closing:
            self.reschedule(lane, now)
        elif lane not in self.ready and lane.quota.held_by is None:
            self.filling[lane] = None
            self.deadlines.schedule(lane, max(at, lane.paused_until))

    def force_all(self, reason: FlushReason, now: float) -> None:
        """Make every half-filled batch due, because others wait for the places that it holds."""
        for lane in [*self.filling, *self.ready, *self.pacing.held()]:
            lane.queue.force(reason)
            self.reschedule(lane, now)

    def pause(self, lane: Lane, until: float, now: float) -> None:
        """Let nothing of *lane* leave before *until*."""
        lane.blocked = lane.blocked._replace(pause=begun(lane.blocked.pause, now, until))
        lane.paused_until = max(lane.paused_until, until)
        self.deadlines.schedule(lane, until)

    def take(self, now: float) -> Lane | None:
        """Take out the lane whose turn it is; None if none has anything to send."""
        lane = self.pacing.release(now, self.closes_at) if self.pacing.awake else None
        if lane is None and self.ready:
            lane = self.ready.take()
        return lane

    @property
    def has_ready(self) -> bool:
        """Whether some lane may have something to send now."""
        return bool(self.ready or self.pacing.awake)

    def forget(self, lane: Lane) -> None:
        """Look at *lane* no more."""
        self.ready.discard(lane)
        self.filling.pop(lane, None)
        self.deadlines.drop(lane)
