"""What a seed means: how the provider behaves, who calls when, and under which policies."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, Literal, TypeAlias

import attrs

from batcher import AutoBatchPolicy, BreakerPolicy, Fairness, Limits, Quota, RetryPolicy

RECORDS = 2_000  # at least, of every seed
LARGEST = 400  # bytes of a record

Ending: TypeAlias = Literal["drained", "leaves", "raises", "cancelled"]
_EARLY: tuple[Ending, ...] = ("leaves", "raises", "cancelled")


@attrs.define(kw_only=True)
class Conduct:
    """How the provider behaves."""

    latency: float = 0.1
    """Seconds that a call takes, before what its records take."""
    per_record: float = 0.0005
    spread: float = 0.3
    """The share by which latencies vary, both ways."""
    faults: dict[str, float] = attrs.field(factory=dict)
    """What befalls calls (see ``faults.FAULTS``), and the chance for each of them."""
    refusal: Literal["verdict", "named", "opaque"] = "verdict"
    """How a bad record is refused: alone, or with its call, named or not."""
    quota: Quota | None = None
    """What it allows, in any window of its clock."""
    stated: bool = False
    """The library knows of that quota, and must keep it. Else what is too much gets a 429."""
    retry_after: bool = True
    """A 429 says when to come back."""
    sick: dict[int, str] = attrs.field(factory=dict)
    """Tenants all of whose calls fail, and how."""
    brownouts: list[tuple[float, float]] = attrs.field(factory=list)
    """When it is slow and fails many calls: from, to."""
    down: bool = False
    """It fails all of them then, at once."""
    max_call_records: float = inf
    """More than that in a call are refused as too many, which nobody was told."""
    says_too_large: bool = False
    """It says why, as HTTP 413 does."""
    unique: bool = False
    """A second create of the same record is refused as a duplicate, and it can be asked whether a record is there."""
    locks: bool = False
    """It locks the parent of a record during a call."""
    plain: bool = False
    """It answers with plain values instead of ``Written``."""
    lane_in_flight: float = inf


@attrs.define(kw_only=True)
class Crowd:
    """Who calls."""

    pattern: str = "steady"
    rate: float = 500.0
    tenants: int = 5
    hot: float = 0.0
    """The share of the first tenant, apart from its equal part."""
    rows: int = 300
    """Remote records that updates, upserts and deletes share."""
    creates: float = 0.6
    bad: float = 0.0
    gives_up: float = 0.02
    patience: float = 0.2
    """Seconds within which those who give up do."""
    together: float = 0.025
    """The chance that a caller hands over several records at once."""
    groups: float = 0.3
    """The share of these that are all or none."""
    deadlines: float = 0.05
    oversized: float = 0.001
    flushes: int = 3
    mass_cancels: int = 0


@attrs.define(kw_only=True)
class Plan:
    """One run, determined by its seed."""

    seed: int
    backend: Literal["asyncio", "trio"]
    script: str
    workload: str
    ending: Ending
    conduct: Conduct
    crowd: Crowd
    auto_batch: AutoBatchPolicy
    retry: RetryPolicy
    limits: Limits
    face: Literal["writer", "batcher"]
    hook: bool
    """Somebody listens to events."""

    @property
    def roomy(self) -> bool:
        """Nobody can ever have to wait for a place."""
        return self.limits.lane_records >= 3 * RECORDS and self.limits.lane_bytes >= 3 * RECORDS * LARGEST

    @property
    def asks(self) -> bool:
        """The provider is asked what became of creates whose answer was lost."""
        return self.retry.on_unknown == "verify" and self.conduct.unique

    @property
    def resends(self) -> bool:
        """A create that may have been applied is sent again."""
        return self.retry.on_unknown == "retry"


@attrs.define
class Draft:
    """A plan in the making."""

    rng: Random
    conduct: Conduct = attrs.field(factory=Conduct)
    crowd: Crowd = attrs.field(factory=Crowd)
    batch: dict[str, Any] = attrs.field(factory=dict)
    retry: dict[str, Any] = attrs.field(factory=dict)
    limits: dict[str, Any] = attrs.field(factory=dict)
    calm: bool = False
    """No faults but those of the script."""


def plan_of(seed: int, backend: str | None = None) -> Plan:
    """Return the plan of a seed. The seed also says which loop it runs on, unless the caller does."""
    rng = Random(seed)
    scripts, workloads = list(SCRIPTS), list(WORKLOADS)
    script = scripts[seed % len(scripts)]
    workload = rng.choice(workloads)
    draft = Draft(rng)
    _policies(draft)
    WORKLOADS[workload](draft)
    SCRIPTS[script](draft)
    if not draft.calm and rng.random() < 0.5:
        for name in rng.sample(SPRINKLES, 3):
            draft.conduct.faults.setdefault(name, rng.uniform(0.005, 0.03))
    ending: Ending = "drained"
    if workload == "shutdown" or rng.random() < 0.2:
        ending = rng.choice(_EARLY)
    face: Literal["writer", "batcher"] = "writer" if rng.random() < 0.7 else "batcher"
    if face == "batcher":
        draft.conduct.lane_in_flight = inf  # a function has no rules
        draft.conduct.unique |= draft.retry["on_unknown"] == "verify"  # a function that can be asked must know
    if draft.conduct.stated and draft.conduct.quota is not None:
        draft.limits["quotas"] = [draft.conduct.quota]
    backend = backend or ("trio" if seed // len(scripts) % 2 else "asyncio")
    return Plan(
        seed=seed,
        backend="trio" if backend == "trio" else "asyncio",
        script=script,
        workload=workload,
        ending=ending,
        conduct=draft.conduct,
        crowd=draft.crowd,
        auto_batch=AutoBatchPolicy(**draft.batch),
        retry=RetryPolicy(**draft.retry),
        limits=Limits(**draft.limits),
        face=face,
        hook=rng.random() < 0.5,
    )


def _policies(draft: Draft) -> None:
    rng = draft.rng
    draft.batch = {
        "max_records": rng.choice([10, 25, 50, 100, 100, 200]),
        "max_delay": rng.choice([0.0, 0.02, 0.05, 0.05, 0.2, 1.0]),
        "max_bytes": rng.choice([1_000_000, 1_000_000, rng.randint(4_000, 20_000)]),
    }
    if rng.random() < 0.2:
        draft.batch["gather"] = draft.batch["max_delay"] / 2
    draft.retry = {
        "deadline": rng.choice([5.0, 20.0, 60.0]),
        "max_attempts": rng.choice([inf, inf, rng.randint(2, 6)]),
        "backoff_base": rng.choice([0.1, 0.5]),
        "backoff_cap": rng.choice([5.0, 20.0]),
        "on_unknown": rng.choice(["raise", "verify", "retry"]),
        "isolation_calls": rng.choice([4, 20, 50, 200]),
    }
    if rng.random() < 0.5:
        quick = BreakerPolicy(failures=3, patience=0.5, cooldown=1.0)
        draft.retry["breaker"] = rng.choice([None, quick, quick])
    if rng.random() < 0.15:
        draft.retry["budget"], draft.retry["budget_floor"] = 0.05, 0.2
    draft.limits = {
        "max_in_flight": rng.choice([2, 8, 32, 32]),
        "max_lane_in_flight": rng.choice([1, 2, 4, 4]),
        "call_timeout": rng.choice([2.0, 5.0, 10.0]),
        "shutdown_timeout": rng.choice([2.0, 10.0, 30.0]),
    }
    if rng.random() < 0.35:
        draft.limits["max_pending_records"] = rng.randint(60, 800)
        draft.limits["max_lane_records"] = rng.choice([None, rng.randint(30, 400)])
    if rng.random() < 0.1:
        draft.limits["max_pending_bytes"] = rng.randint(10_000, 100_000)
    if rng.random() < 0.25:
        draft.limits["fairness"] = Fairness(by=tenant_of, weights={"t0": 0.5, "t1": 3})
        if rng.random() < 0.5:
            draft.limits["max_pending_records"], draft.limits["max_lane_records"] = 400, 40
    draft.conduct.unique = draft.retry["on_unknown"] == "verify" and rng.random() < 0.8
    draft.conduct.latency = rng.choice([0.01, 0.05, 0.1, 0.4])
    draft.conduct.plain = rng.random() < 0.3
    draft.conduct.lane_in_flight = rng.choice([inf, inf, 1])
    draft.crowd.rows = rng.choice([20, 300, 1000])
    draft.crowd.creates = rng.choice([0.3, 0.6, 0.9])
    draft.crowd.bad = rng.choice([0.0, 0.002, 0.01])


# Workloads


def _trickle(draft: Draft) -> None:
    draft.crowd.pattern, draft.crowd.rate = "random", draft.rng.uniform(15, 60)
    draft.crowd.tenants = draft.rng.randint(1, 3)
    if draft.rng.random() < 0.4:  # so that batches fill by single arrivals
        draft.batch["max_records"], draft.batch["max_delay"] = draft.rng.choice([4, 10]), 1.0


def _steady(draft: Draft) -> None:
    draft.crowd.pattern, draft.crowd.rate = "steady", draft.rng.uniform(100, 1000)
    draft.crowd.tenants = draft.rng.randint(1, 10)


def _bursts(draft: Draft) -> None:
    draft.crowd.pattern, draft.crowd.rate = "bursts", draft.rng.uniform(50, 500)
    draft.crowd.tenants = draft.rng.randint(1, 10)


def _hot(draft: Draft) -> None:
    draft.crowd.pattern, draft.crowd.rate = "random", draft.rng.uniform(200, 2000)
    draft.crowd.tenants, draft.crowd.hot = 1000, 0.6


def _cancels(draft: Draft) -> None:
    draft.crowd.pattern, draft.crowd.rate = draft.rng.choice(["bursts", "random"]), draft.rng.uniform(100, 1000)
    draft.crowd.gives_up, draft.crowd.mass_cancels = 0.4, 4
    draft.crowd.patience = draft.rng.choice([0.1, 1.0])


def _shutdown(draft: Draft) -> None:
    draft.crowd.pattern, draft.crowd.rate = "random", draft.rng.uniform(500, 4000)
    draft.limits["shutdown_timeout"] = draft.rng.choice([0.0, 0.3, 2.0, 10.0])


WORKLOADS: dict[str, Callable[[Draft], None]] = {
    "trickle": _trickle,
    "steady": _steady,
    "bursts": _bursts,
    "hot tenant": _hot,
    "cancel storm": _cancels,
    "shutdown": _shutdown,
}


# Scripts


def _healthy(draft: Draft) -> None:
    draft.calm = True
    draft.crowd.bad = 0.0


def _quota(draft: Draft) -> None:
    per = draft.rng.choice([1.0, 5.0])
    by = draft.rng.choice([None, tenant_of])
    calls = draft.rng.choice([inf, draft.rng.randint(3, 20)])
    least = draft.batch["max_records"]  # else some calls could never pass
    records = draft.rng.randint(least, 4 * least) if calls == inf or draft.rng.random() < 0.5 else inf
    draft.conduct.quota = Quota(per=per, calls=calls, records=records, by=by)
    draft.conduct.stated = True
    if draft.crowd.tenants > 100 and by is None:
        draft.crowd.tenants = 20


def _throttled(draft: Draft) -> None:
    _quota(draft)
    draft.conduct.stated = False


def _throttled_silently(draft: Draft) -> None:
    _throttled(draft)
    draft.conduct.retry_after = False


def _brownout(draft: Draft) -> None:
    begin = draft.rng.uniform(0, 1)
    for _ in range(draft.rng.randint(1, 3)):
        end = begin + draft.rng.uniform(0.5, 8)
        draft.conduct.brownouts.append((begin, end))
        begin = end + draft.rng.uniform(0.5, 5)
    if draft.rng.random() < 0.5:
        draft.conduct.down = True
        draft.retry["breaker"] = BreakerPolicy(failures=3, patience=0.2, cooldown=2.0)
        draft.crowd.tenants = max(draft.crowd.tenants, 50)


def _resets(draft: Draft) -> None:
    for name in ("reset before", "reset after", "reset, applied late", "answer lost", "no connection"):
        draft.conduct.faults[name] = draft.rng.uniform(0.01, 0.08)


def _answers(draft: Draft) -> None:
    for name in ("short answer", "long answer", "garbage answer", "shuffled answer", "entries missing", "crash"):
        draft.conduct.faults[name] = draft.rng.uniform(0.01, 0.06)


def _poison(draft: Draft) -> None:
    draft.conduct.refusal = draft.rng.choice(["named", "opaque", "opaque"])
    draft.crowd.bad = draft.rng.choice([0.005, 0.02, 0.05])


def _locks(draft: Draft) -> None:
    draft.conduct.locks = True


def _dead(draft: Draft) -> None:
    draft.calm = True
    draft.crowd.tenants = max(draft.crowd.tenants, 10)
    draft.conduct.sick[0] = draft.rng.choice(["hangs", "unavailable", "no connection"])
    draft.retry["deadline"] = 5.0
    draft.limits = {"call_timeout": 5.0, "shutdown_timeout": 10.0, "max_in_flight": 200}
    draft.conduct.lane_in_flight = inf


def _revoked(draft: Draft) -> None:
    draft.crowd.tenants = max(draft.crowd.tenants, 4)
    draft.conduct.sick[1] = "revoked"


def _sizes(draft: Draft) -> None:
    draft.conduct.says_too_large = draft.rng.random() < 0.5
    draft.conduct.max_call_records = max(5, draft.batch["max_records"] // draft.rng.choice([2, 3, 7]))


def _timeouts(draft: Draft) -> None:
    draft.conduct.faults["hangs"] = draft.rng.uniform(0.01, 0.05)
    draft.conduct.faults["stubborn"] = draft.rng.uniform(0.01, 0.03)
    draft.limits["call_timeout"] = 2.0


def _duplicates(draft: Draft) -> None:
    _resets(draft)
    draft.conduct.unique = True
    draft.retry["on_unknown"] = draft.rng.choice(["retry", "verify"])


def _everything(draft: Draft) -> None:
    for script in (_resets, _answers, _poison, _locks, _brownout, _timeouts):
        script(draft)
    draft.conduct.faults = {name: chance / 3 for name, chance in draft.conduct.faults.items()}


SCRIPTS: dict[str, Callable[[Draft], None]] = {
    "healthy": _healthy,
    "quota": _quota,
    "throttled": _throttled,
    "throttled silently": _throttled_silently,
    "brown-out": _brownout,
    "resets": _resets,
    "answers": _answers,
    "poison": _poison,
    "locks": _locks,
    "dead tenant": _dead,
    "revoked": _revoked,
    "sizes": _sizes,
    "timeouts": _timeouts,
    "duplicates": _duplicates,
    "everything": _everything,
}

SPRINKLES = ["reset before", "reset after", "answer lost", "no connection", "busy", "429", "429 with Retry-After"]
SPRINKLES += ["records busy", "short answer", "shuffled answer", "entries missing", "hangs"]


def tenant_of(lane: Any) -> Any:
    """Return whose lane it is."""
    return lane[0]
