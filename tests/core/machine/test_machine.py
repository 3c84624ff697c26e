"""Whatever callers, clocks and destinations do: the laws of the engine hold after every step.

``BATCHER_SOAK=5000 pytest tests/core/machine/test_machine.py`` runs that many examples instead of a few, each with
more steps.
"""

from __future__ import annotations

import os
from math import inf
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batcher._core.model.entries import Entry
from batcher.errors import InvalidGroup
from batcher.outcomes import Accepted, NotWritten, Refused, Rejected, Retry, RolledBack, Unknown, Written
from batcher.policies import BreakerPolicy, Limits, RetryPolicy
from tests.core.building import record
from tests.core.machine.limits import KEYS, LIMITS, max_bytes, max_records, rules_of
from tests.core.machine.model import Model

SOAK = int(os.environ.get("BATCHER_SOAK", "0"))

BREAKER = BreakerPolicy(failures=2, patience=2, cooldown=3, cooldown_cap=9)

keys = st.sampled_from(KEYS)
identities = st.sampled_from([None, None, None, "ada", "bob"])
sizes = st.sampled_from([0, 0, 1, 3, 5, 9, 11])
delays = st.sampled_from([None, None, None, 0.0, 1.0, 20.0])
lives = st.sampled_from([inf, inf, inf, inf, 0.0, 2.0, 8.0])
jitters = st.sampled_from([0.0, 0.5, 1.0])
retries = st.builds(
    Retry,
    st.just("throttled"),
    after=st.sampled_from([None, None, 0.0, 3.0, 70.0]),
    pause_lane=st.booleans(),
    applied=st.sampled_from(["no", "no", "maybe"]),
)
values = st.builds(object)
verdicts = st.one_of(
    values,
    values,
    retries,
    st.sampled_from([Written("001"), Accepted("op"), Rejected("taken"), Unknown("lost"), RolledBack((), "other")]),
    st.builds(ValueError, st.just("bad")),
    st.builds(Refused, st.just("refused")),
    st.builds(KeyboardInterrupt),
)
garbage: st.SearchStrategy[Any] = st.sampled_from([None, 7, "ok", b"ok", {}, iter(())])
culprits = st.dictionaries(st.integers(-1, 3), st.just("culprit"), max_size=2)
raised = st.one_of(
    retries,
    st.builds(Refused, st.just("refused"), culprits),
    st.builds(Refused, st.just("refused")),
    st.sampled_from([OSError("reset"), TimeoutError(), KeyboardInterrupt()]),
)


class EngineMachine(RuleBasedStateMachine):
    """Callers, destinations and a clock with a mind of their own."""

    model: Model

    @initialize(
        limits=st.sampled_from(LIMITS),
        on_unknown=st.sampled_from(["raise", "retry", "verify"]),
        atomic=st.booleans(),
        isolation_calls=st.sampled_from([1, 3, 50]),
        max_attempts=st.sampled_from([inf, 2]),
        budget_floor=st.sampled_from([10, 10, 0.2]),
        breaker=st.sampled_from([None, None, BREAKER]),
    )
    def open(
        self,
        limits: Limits,
        on_unknown: Any,
        atomic: bool,
        isolation_calls: int,
        max_attempts: float,
        budget_floor: float,
        breaker: BreakerPolicy | None,
    ) -> None:
        retry = RetryPolicy(
            deadline=60,
            max_attempts=max_attempts,
            backoff_base=1,
            backoff_cap=4,
            on_unknown=on_unknown,
            isolation_calls=isolation_calls,
            budget_floor=budget_floor,
            breaker=breaker,
        )
        self.model = Model(retry, limits, atomic)

    def is_open(self) -> bool:
        return self.model.closes_at == inf

    @precondition(is_open)
    @rule(writes=st.lists(st.tuples(keys, identities, sizes, delays, lives), min_size=1, max_size=5))
    def submit(self, writes: list[tuple[str, Any, int, float | None, float]]) -> None:
        for key, identity, size, delay, life in writes:
            expires_at = self.model.now + life
            self.model.submit(record(identity=identity, size=size, delay=delay, expires_at=expires_at), key)

    @precondition(is_open)
    @rule(key=keys, impatience=st.lists(delays, min_size=1, max_size=2))
    def submit_to_one_lane(self, key: str, impatience: list[float | None]) -> None:
        for delay in impatience:
            self.model.submit(record(delay=delay), key)

    @precondition(is_open)
    @rule(writes=st.lists(st.tuples(keys, delays), min_size=2, max_size=3))
    def submit_of_one_identity(self, writes: list[tuple[str, float | None]]) -> None:
        for key, delay in writes:
            self.model.submit(record(identity="eve", delay=delay), key)

    @precondition(is_open)
    @rule(key=keys, count=st.integers(1, 8))
    def submit_plain(self, key: str, count: int) -> None:
        for _ in range(count):
            self.model.submit(record(), key)

    @precondition(is_open)
    @rule(key=keys, many=st.lists(sizes, min_size=1, max_size=8), identity=identities)
    def submit_many(self, key: str, many: list[int], identity: Any) -> None:
        self.model.submit_many([record(identity=identity, size=size) for size in many], key)

    @precondition(is_open)
    @rule(key=keys, members=st.lists(st.tuples(identities, sizes), min_size=1, max_size=4), life=lives)
    def submit_group(self, key: str, members: list[tuple[Any, int]], life: float) -> None:
        expires_at = self.model.now + life
        entries = [record(identity=name, size=size, expires_at=expires_at) for name, size in members]
        try:
            group, verb = self.model.engine.submit_group(entries, key, self.model.now)
        except InvalidGroup:
            assert self._breaks_a_rule(key, entries)
        else:
            assert not self._breaks_a_rule(key, entries)
            self.model.arrived(group, verb)

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data(), jitter=jitters)
    def answer_each(self, data: st.DataObject, jitter: float) -> None:
        batch = data.draw(st.sampled_from(self.model.in_flight))
        count = len(batch.entries)
        self.model.answer(batch, data.draw(st.lists(verdicts, min_size=count, max_size=count)), jitter)

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data())
    def answer_well(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(self.model.in_flight))
        self.model.answer(batch, [object() for _ in batch.entries], 0.0)

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data(), wrong=st.one_of(garbage, st.lists(values, max_size=5)))
    def answer_badly(self, data: st.DataObject, wrong: Any) -> None:
        batch = data.draw(st.sampled_from(self.model.in_flight))
        self.model.answer(batch, wrong, 0.0)

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data(), error=raised, jitter=jitters)
    def answer_by_raising(self, data: st.DataObject, error: BaseException, jitter: float) -> None:
        batch = data.draw(st.sampled_from(self.model.in_flight))
        self.model.answer(batch, error, jitter)

    @precondition(lambda self: any(batch.asks for batch in self.model.in_flight))
    @rule(data=st.data(), jitter=jitters)
    def answer_what_is_there(self, data: st.DataObject, jitter: float) -> None:
        batch = data.draw(st.sampled_from([each for each in self.model.in_flight if each.asks]))
        count = len(batch.entries)
        found = st.sampled_from([Written("001"), NotWritten("absent"), NotWritten("absent"), Unknown("who knows")])
        self.model.answer(batch, data.draw(st.lists(found, min_size=count, max_size=count)), jitter)

    @precondition(lambda self: any(batch.entries for batch in self.model.in_flight))
    @rule(data=st.data())
    def give_up_on_a_call(self, data: st.DataObject) -> None:
        self.model.give_up_on(data.draw(st.sampled_from([each for each in self.model.in_flight if each.entries])))

    @precondition(lambda self: self.model.live_units())
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self.model.withdraw(data.draw(st.sampled_from(self.model.live_units())))

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.model.wait_until(self.model.now + seconds)

    @precondition(is_open)
    @rule(seconds=st.sampled_from([0.5, 2.0, 8.0]))
    def wait_for_a_late_timer(self, seconds: float) -> None:
        self.model.now += seconds

    @precondition(lambda self: self.is_open() and self.model.accepted)
    @rule(how=st.sampled_from(["poll", "poll", "flush", "complete"]))
    def nudge(self, how: str) -> None:
        if how == "poll":
            self.model.turn()
        elif how == "flush":
            self.model.flush()
        else:
            self.model.complete(self.model.accepted[-1])

    @precondition(lambda self: not self.model.aborted and len(self.model.accepted) > 25)
    @rule(timeout=st.sampled_from([None, 0.0, 2.0, 30.0]))
    def end(self, timeout: float | None) -> None:
        if timeout is None:
            self.model.abort()
        elif self.is_open():
            self.model.close(self.model.now + timeout)

    @invariant()
    def laws_hold(self) -> None:
        self.model.check()

    def _breaks_a_rule(self, key: str, members: list[Entry]) -> bool:
        limits = self.model.limits
        names = [member.extras.identity for member in members if member.extras.identity is not None]
        size = sum(member.size for member in members)
        return (
            not rules_of(key).all_or_none
            or len(set(names)) < len(names)
            or len(members) > min(max_records(key), limits.lane_records)
            or size > min(max_bytes(key), limits.lane_bytes)
        )

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.model.drain()


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=SOAK or 300,
    stateful_step_count=150 if SOAK else 60,
    deadline=None,
    derandomize=not SOAK,
    suppress_health_check=list(HealthCheck),
)
