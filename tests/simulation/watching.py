"""The laws that hold at every moment, checked whenever a call departs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from batcher import BreakerPolicy, Statistics
from tests.simulation.journals import Journal, Submission
from tests.simulation.plans import Plan

if TYPE_CHECKING:
    from tests.simulation.provider import Call, Provider

# Clocks of event loops fire timers up to a microsecond early.
INSTANT = 1e-4


class Outage:
    """What the breaker of the destination has everybody told, from when it opens until it is closed."""

    def __init__(self, breaker: BreakerPolicy, now: float) -> None:
        self._breaker = breaker
        self._cooldown = breaker.cooldown
        self._pause = 1.0
        self._probed_at = inf
        self.early_at = now
        """When a lane that has not failed may try."""
        self._cool_at = now + self._cooldown
        self.spells = [(now, self._cool_at)]
        """From when to when the others are told at once."""

    def probe(self, now: float) -> None:
        """Note that one record is sent."""
        self._probed_at = now

    def go_on(self, now: float) -> None:
        """Note that it fared no better."""
        if self._probed_at < self._cool_at:
            self.early_at = now + self._pause
            self._pause *= 2
            self.hold(now)  # the cooldown may have ended meanwhile
        else:
            self._cooldown = min(2 * self._cooldown, self._breaker.cooldown_cap)
            self._cool_at = now + self._cooldown
            self.spells.append((now, self._cool_at))

    def hold(self, now: float) -> None:
        """Note that a call has ended: if it was out when the breaker opened, others could not go before."""
        since, until = self.spells[-1]
        self.spells[-1] = since, max(until, now)


class Watch:
    """Sees every call depart and end."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan = plan
        self.journal = journal
        self.statistics: Callable[[], Statistics] | None = None
        self.provider: Provider | None = None
        self.left = False
        """The writer has been left."""
        self.crowded: set[Any] = set()
        """Lanes that had as many calls out as they may; None if all together had."""
        self._longest_wait: dict[Any, float] = {}  # of a lane: the longest delay that anybody gave
        self._out: Counter[Any] = Counter()  # calls, by lane
        self._all_out = 0
        self._careful: set[Any] = set()  # lanes that may have fewer calls out, since one was not answered plainly
        self._lane_free_since: dict[Any, float] = {}
        self._free_since = -inf
        self._taken_at: dict[Any, float] = {}  # when a lane had as many calls out as it may, last
        self._all_taken_at = -inf  # when all lanes together had
        self._paused: dict[Any, tuple[float, float]] = {}  # from, until
        self.carriers: dict[Any, Call] = {}  # by identity
        self._sent: dict[Any, int] = {}  # the last write of an identity
        self._ready: Counter[Any] = Counter()  # records that are due as soon as a batch of them is full
        self._counted: set[Submission] = set()
        self._too_large: dict[Any, int] = {}  # of a lane: bytes that were
        self._broken: dict[Any, tuple[float, float]] = {}  # lanes with an open breaker: since, at least until
        self._began_at = inf  # the first call
        self._carrier: dict[Submission, Call] = {}  # the last that carried it, or asked about it
        self._tried_again: set[Call] = set()  # calls whose records, or some of them, have come again
        self.outages: list[Outage] = []
        self._outage: Outage | None = None
        self._full_since: dict[Any, float] = {}

    # What the simulator tells

    def offered(self, submission: Submission) -> None:
        """Note a record that is handed over."""
        lane = submission.lane
        delay = self.plan.auto_batch.window if submission.max_delay is None else submission.max_delay
        self._longest_wait[lane] = max(self._longest_wait.get(lane, 0.0), delay)

    def accepted(self, submission: Submission, now: float) -> None:
        """Note that a record was accepted in this moment."""
        lane = submission.lane
        # Callers of submit_all() hear of their first record when they hear of their last.
        single = not submission.fellows and submission.verb != "submit_all"
        # Who has waited for a place hears of it after the turn that may have sent his record already.
        if single and submission.alone and not self.plan.conduct.stated and self.plan.roomy:
            self._counted.add(submission)
            self._ready[lane] += 1
            if self._ready[lane] == self.plan.auto_batch.max_records and self._is_free(lane):
                self._full_since[lane] = now

    def taken_back(self, submission: Submission) -> None:
        """Note that a record was, perhaps, taken back."""
        if submission in self._counted:
            self._counted.remove(submission)
            self._ready[submission.lane] -= 1
            self._full_since.pop(submission.lane, None)

    def pauses(self, lane: Any, after: float, now: float) -> None:
        """Note that a lane is told to pause, for *after* seconds at least."""
        since, until = self._paused.get(lane, (now, now))
        self._paused[lane] = (since, max(until, now + after)) if until > now else (now, now + after)
        self._lane_free_since[lane] = inf  # for how long nobody but the library knows

    def learns(self, call: Call) -> None:
        """Note that a call was told to be too large."""
        size = self._weight(call)
        self._too_large[call.lane] = min(size, self._too_large.get(call.lane, size))

    def breaks(self, lane: Any, state: str, now: float) -> None:
        """Note what a circuit breaker of a lane has become."""
        breaker = self.plan.retry.breaker
        assert breaker is not None
        self._broken[lane] = (now, now + breaker.cooldown) if state == "open" else (-inf, -inf)

    def breaks_down(self, state: str, now: float) -> None:
        """Note what the circuit breaker of the destination has become."""
        assert self.plan.retry.breaker is not None
        if state == "closed":
            self._outage = None
        elif self._outage is None:
            self._outage = Outage(self.plan.retry.breaker, now)
            self.outages.append(self._outage)
        elif state == "open":
            self._outage.go_on(now)
        else:
            self._outage.probe(now)

    def departs(self, call: Call) -> None:
        """Check a call that begins."""
        now = call.at
        self.journal.calls += 1
        self._check_pace(call, now)
        self._check_budget(call, now)
        for submission in () if call.asks else call.carried:
            self._check_taken_back(submission, now)
            self._check_identity(submission, call)
            self._check_resent(submission, now)
            if not submission.carried:
                self._check_prompt(submission, now)
                submission.first_sent_at = now
            submission.carried += 1
            submission.out += 1
        if call.asks:
            for submission in call.carried:
                submission.asked += 1
                submission.out += 1
        else:
            self._check_size(call)
            self._check_full(call, now)
        self._out[call.lane] += 1
        self._all_out += 1
        if self._out[call.lane] >= self._capacity(call.lane):
            self._taken_at[call.lane] = now
        if self._all_out >= self._capacity_of_all:
            self._all_taken_at = now
        self._check_bounds(call)

    def ends(self, call: Call, now: float) -> None:
        """Note that it has ended."""
        lane = call.lane
        if not call.plain or call.slow:
            self._careful.add(lane)
        self._out[lane] -= 1
        self._all_out -= 1
        if self._outage is not None:
            self._outage.hold(now)
        if self._out[lane] + 1 == self._capacity(lane) and self._lane_free_since.get(lane) != inf:
            self._lane_free_since[lane] = now
        if self._all_out + 1 == self._capacity_of_all:
            self._free_since = now
        for submission in call.carried:
            submission.out -= 1
            if self.carriers.get(submission.identity) is call:
                del self.carriers[submission.identity]

    # Laws

    def _check_size(self, call: Call) -> None:
        most = self.plan.auto_batch.max_records
        self.journal.check(
            "P3 size", len(call.carried) <= most, f"{len(call.carried)} records in a call, {most} allowed"
        )
        size, most = self._weight(call), self.plan.auto_batch.max_bytes
        self.journal.check("P3 size", size <= most, f"{size} bytes in a call, {most} allowed")
        learned = self._too_large.get(call.lane)
        if learned is not None and len(call.carried) > 1 and not call.all_or_none and not self._out[call.lane]:
            self.journal.check("P4 too large", size < learned, f"a call of {size}, {learned} were too large")
        fellows = call.carried[0].fellows
        whole = not call.all_or_none or call.carried == list(fellows)
        apart = call.all_or_none or not any(each.fellows for each in call.carried)
        self.journal.check("P5 alone", whole and apart, f"a call of {len(call.carried)}, a group of {len(fellows)}")
        if call.all_or_none:
            self.journal.met("P5: a group travelled")

    def _check_pace(self, call: Call, now: float) -> None:
        assert self.provider is not None
        kept = self.provider.meter(call)
        self.journal.check("quota", kept, f"a call of {len(call.carried)} at {now:.4f} exceeds the quota")
        self.journal.check("P11 silence", not self.left, f"a call at {now:.3f}, after the writer was left")
        since, until = self._broken.get(call.lane, (-inf, -inf))
        silent = not since + INSTANT < now < until - INSTANT
        self.journal.check(
            "breaker", silent, f"a call at {now:.3f}, the breaker is open from {since:.3f} to {until:.3f}"
        )
        self._check_outage(now)
        since, until = self._paused.pop(call.lane, (-inf, -inf))
        if until > since:
            self.journal.met("pause: a call came after a pause that was asked for")
        if now <= since + INSTANT:
            self._paused[call.lane] = since, until  # it was on its way
            return
        self.journal.check(
            "pause", now >= until - INSTANT, f"a call at {now:.3f} in a pause from {since:.3f} to {until:.3f}"
        )
        if since > -inf:
            self._lane_free_since[call.lane] = now

    def _check_outage(self, now: float) -> None:
        """While the breaker of the destination is open, a lane that has not failed tries now and then, alone."""
        if self._outage is None:
            return
        since, until = self._outage.spells[-1]
        if since + INSTANT < now < until - INSTANT:
            self.journal.met("breaker: a lane that had not failed tried early")
            at = self._outage.early_at
            self.journal.check("breaker", at - INSTANT <= now, f"an early try at {now:.3f}, not before {at:.3f}")
            self.journal.check("breaker", not self._all_out, f"an early try at {now:.3f} was not alone")

    def _check_budget(self, call: Call, now: float) -> None:
        """Records that come again together, after another call than one that looks for culprits, cost one retry."""
        self._began_at = min(self._began_at, now)
        before = {self._carrier[each] for each in call.carried if each in self._carrier}
        self._tried_again.update(other for other in before if not (other.refused or other.asks))
        self._carrier.update(dict.fromkeys(call.carried, call))
        policy, calls = self.plan.retry, self.journal.calls
        most = max(1, policy.budget_floor) + policy.budget_floor * (now - self._began_at) + policy.budget * calls
        tried = len(self._tried_again)
        self.journal.check("budget", tried <= most + INSTANT, f"{tried} retries, {most:.1f} allowed, {calls} calls")
        if tried > most - 1:
            self.journal.met("budget: it was used up")

    def _check_taken_back(self, submission: Submission, now: float) -> None:
        tag, at = submission.tag, submission.cancelled_at
        self.journal.check("P8 withdrawn", not submission.withdrawn, f"{tag} was sent after withdraw() said True")
        if at is not None and not submission.detached:
            if now <= at + INSTANT:
                submission.detached = True  # it was on its way
            else:
                self.journal.breach("P8 cancelled", f"{tag} was sent at {now:.3f}, its caller cancelled at {at:.3f}")
        expires_at = submission.offered_at + (inf if submission.deadline is None else submission.deadline)
        self.journal.check(
            "deadline", now <= expires_at + INSTANT, f"{tag} sent at {now:.3f}, expired {expires_at:.3f}"
        )

    def _check_identity(self, submission: Submission, call: Call) -> None:
        identity = submission.identity
        if identity is None:
            return
        holder = self.carriers.setdefault(identity, call)
        among = sum(each.identity == identity for each in call.carried)
        alone = holder is call and among == 1
        self.journal.check("P6 apart", alone, f"{submission.tag} is out together with another write of {identity}")
        # Where callers wait for places, the order of acceptance is known within a lane only.
        name = identity if self.plan.roomy else (identity, submission.lane)
        last = self._sent.get(name, -1)
        self._sent[name] = submission.order
        self.journal.check("P6 order", last <= submission.order, f"{submission.tag} was sent after a later write")
        if not submission.alone and not submission.carried:
            self.journal.met("P6: a write waited for its predecessor")

    def _check_resent(self, submission: Submission, now: float) -> None:
        if not submission.doubted:
            return
        if submission.create:
            may = self.plan.resends or (self.plan.asks and submission.absent)
            self.journal.check("P7 resent", may, f"{submission.tag}, perhaps written, sent at {now:.3f}")
            why = "as the policy allows" if self.plan.resends else "after the provider was asked"
            self.journal.met(f"P7: a create was sent again, {why}")
        else:
            self.journal.met("P7: what does no harm twice was sent again")

    def _check_prompt(self, submission: Submission, now: float) -> None:
        lane = submission.lane
        alone = all(each.alone for each in submission.fellows) if submission.fellows else submission.alone
        if submission.accepted_at is None or not alone or self.plan.conduct.stated or not self._is_free(lane):
            return
        delay = 0.0 if submission.fellows else self._longest_wait[lane]
        due = submission.accepted_at + delay
        since = max(due, self._lane_free_since.get(lane, -inf), self._free_since)
        if since == due:
            self.journal.met("P3: nothing held a record back")
        self.journal.check(
            "P3 prompt", now <= since + INSTANT, f"{submission.tag} due at {since:.4f}, sent at {now:.4f}"
        )

    def _check_full(self, call: Call, now: float) -> None:
        fresh = [each for each in call.carried if each in self._counted]
        self._counted.difference_update(fresh)
        self._ready[call.lane] -= len(fresh)
        since = self._full_since.pop(call.lane, None)
        # Calls that were dispatched in that very moment had not begun, but may have taken the last places.
        if since is not None and max(self._all_taken_at, self._taken_at.get(call.lane, -inf)) < since:
            self.journal.met("P3: a batch was full")
            self.journal.check("P3 full", now <= since + INSTANT, f"full at {since:.4f}, sent at {now:.4f}")

    def _check_bounds(self, call: Call) -> None:
        assert self.statistics is not None
        limits, statistics = self.plan.limits, self.statistics()
        out, lane_out = self._all_out, self._out[call.lane]
        lane_most = min(limits.max_lane_in_flight, self.plan.conduct.lane_in_flight)
        if out == limits.max_in_flight:
            self.crowded.add(None)
        if lane_out == lane_most:
            self.crowded.add(call.lane)
        self.journal.check("P9 calls", out <= limits.max_in_flight, f"{out} calls out, {limits.max_in_flight} allowed")
        self.journal.check("P9 calls", lane_out <= lane_most, f"{lane_out} calls of a lane out, {lane_most} allowed")
        pending, most = statistics.pending, limits.max_pending_records
        self.journal.check("P9 records", pending <= most, f"{pending} records pending, {most} allowed")
        size, most = statistics.pending_bytes, limits.max_pending_bytes
        self.journal.check("P9 bytes", size <= most, f"{size} bytes pending, {most} allowed")
        if statistics.waiting:
            self.journal.met("P9: a submit waited for a place")

    def _weight(self, call: Call) -> int:
        """Return the bytes of a call, or its records where nobody weighs them."""
        return sum(each.size for each in call.carried) if self.plan.face == "writer" else len(call.carried)

    @property
    def _capacity_of_all(self) -> float:
        """How many calls may certainly be out. When several lanes are in trouble, all together may have fewer."""
        return self.plan.limits.max_in_flight if len(self._careful) < 2 else 1

    def _capacity(self, lane: Any) -> float:
        if lane in self._careful:
            return 1
        return min(self.plan.limits.max_lane_in_flight, self.plan.conduct.lane_in_flight)

    def _is_free(self, lane: Any) -> bool:
        """Return whether nothing but its delay keeps a batch of *lane* from leaving."""
        return (
            self._out[lane] < self._capacity(lane)
            and self._all_out < self._capacity_of_all
            and self._lane_free_since.get(lane) != inf
        )
