"""Who hands over what, and when."""

from __future__ import annotations

from random import Random

from batcher import Write, WriteType
from tests.simulation.journals import Submission
from tests.simulation.plans import LARGEST, RECORDS, Crowd, Plan

PARENTS = 20
LONGEST_DELAY = 0.3  # that a caller may ask for
EXTRA = 50  # records on top, so that enough are accepted of those that are offered
TICK = 2**-7  # seconds. Where many come, they come in ticks, which costs fewer turns of the loop

_KINDS = [WriteType.CREATE, WriteType.CREATE, WriteType.UPDATE]
_OTHERS = [WriteType.UPDATE] * 5 + [WriteType.UPSERT] * 3 + [WriteType.DELETE]


class Workload:
    """Makes the submissions of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.crowd: Crowd = plan.crowd
        self.rng = Random(f"{plan.seed} workload")
        self._tag = 0

    def arrivals(self) -> list[tuple[float, list[Submission]]]:
        """Return what is handed over together, and when, in order."""
        arrivals: list[tuple[float, list[Submission]]] = []
        count = RECORDS + EXTRA
        for at in self._times(count):
            if self._tag >= count:
                break
            arrivals.append((at, self._handful()))
        return arrivals

    def mass_cancels(self, end: float) -> list[float]:
        """Return when many callers are cancelled at once."""
        return [self.rng.uniform(0, end) for _ in range(self.crowd.mass_cancels)]

    def flushes(self, end: float) -> list[float]:
        """Return when somebody flushes."""
        return [self.rng.uniform(0, end) for _ in range(self.crowd.flushes)]

    def _times(self, count: int) -> list[float]:
        rng, rate = self.rng, self.crowd.rate
        if self.crowd.pattern == "steady":
            return [index / rate // TICK * TICK for index in range(count)]
        if self.crowd.pattern == "random":
            times, now = [], 0.0
            for _ in range(count):
                now += rng.expovariate(rate)
                times.append(now if rate < 1 / TICK else now // TICK * TICK)
            return times
        times, now = [], 0.0
        while len(times) < count:
            burst = rng.randint(50, 500)
            times += [now] * burst
            now += burst / rate
        return times[:count]

    def _handful(self) -> list[Submission]:
        rng, crowd = self.rng, self.crowd
        if rng.random() >= crowd.together:
            dice = rng.random()
            return [self._submission("submit" if dice < 0.25 else "enqueue" if dice < 0.4 else "submit_nowait")]
        if rng.random() >= crowd.groups:
            # To a Batcher records of one lane only.
            lane = (self._tenant(), rng.choice(_KINDS)) if self.plan.face == "batcher" else (None, None)
            return _in_step([self._submission("submit_all", *lane) for _ in range(rng.randint(2, 30))])
        most = min(8, self.plan.auto_batch.max_records)
        tenant, kind = self._tenant(), rng.choice(_KINDS)
        group = [self._submission("group", tenant, kind) for _ in range(rng.randint(2, most))]
        for member in group:
            member.fellows = tuple(group)
        return _in_step(group)

    def _tenant(self) -> int:
        if self.rng.random() < self.crowd.hot:
            return 0
        return int(self.rng.random() * self.crowd.tenants)

    def _submission(self, verb: str, tenant: int | None = None, kind: WriteType | None = None) -> Submission:
        rng, crowd, tag = self.rng, self.crowd, self._tag
        self._tag += 1
        tenant = self._tenant() if tenant is None else tenant
        if kind is None:
            kind = WriteType.CREATE if rng.random() < crowd.creates else _OTHERS[int(rng.random() * len(_OTHERS))]
        row = str(int(rng.random() * crowd.rows))
        name = f"t{tenant}"
        record: dict[str, object] = {"tag": tag}
        identity: tuple[object, ...] | None = (name, "id", row)
        by = None
        if kind is WriteType.CREATE:
            identity = None
        elif kind is WriteType.UPSERT:
            record["email"], by, identity = row, "email", (name, "email", row)
        else:
            record["id"] = row
        if kind is WriteType.DELETE:
            record = {"id": f"{row}#{tag}"}
        oversized = verb == "submit_nowait" and rng.random() < crowd.oversized
        submission = Submission(
            tag=tag,
            write=Write(name, kind, record, by=by),
            tenant=tenant,
            identity=identity,
            bad=rng.random() < crowd.bad,
            parent=rng.randrange(PARENTS) if self.plan.conduct.locks else None,
            size=self.plan.auto_batch.max_bytes + 1 if oversized else 40 + int(rng.random() * (LARGEST - 40)),
            verb=verb,
        )
        self._impatience(submission)
        return submission

    def _impatience(self, submission: Submission) -> None:
        rng, crowd = self.rng, self.crowd
        if rng.random() < 0.05 and submission.verb not in ("submit_all", "group"):
            submission.max_delay = rng.choice([0.0, 0.01, LONGEST_DELAY])
        if rng.random() < crowd.deadlines:
            submission.deadline = rng.choice([0.05, 0.5, 3.0, 30.0])
        if rng.random() < crowd.gives_up:
            submission.gives_up_after = rng.choice(
                [0.0, rng.uniform(0, crowd.patience), rng.uniform(0, crowd.patience)]
            )


def _in_step(handful: list[Submission]) -> list[Submission]:
    """Have one caller hand them all over: it has one deadline and one patience."""
    for submission in handful:
        submission.deadline, submission.gives_up_after = handful[0].deadline, handful[0].gives_up_after
    return handful
