"""Circuit breakers: when nothing goes through, callers are told at once, and one record at a time finds out."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.breakers import Breakers, Change
from batcher._core.engine import Engine
from batcher._core.model.breakers import Breaker, Signal
from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.outcomes import NotWritten, Refused, Rejected, Retry, Unknown
from batcher.policies import BreakerPolicy, Fairness, LaneRules, RetryPolicy
from tests.core.building import answer, dispatched, make_engine, make_lane, numbered, one_batch, record, submit

REVOKED = [NotWritten("HTTP 401")]
ABSENT = [NotWritten("absent")]
DOWN = Retry("connect")
AT_ONCE = BreakerPolicy(failures=2, patience=0, cooldown=5, cooldown_cap=15)


def make(breaker: BreakerPolicy | None = AT_ONCE, **options: Any) -> Engine:
    return make_engine(retry=RetryPolicy(breaker=breaker, backoff_base=2), **options)


def send_one(engine: Engine, told: Any, now: float, key: str = "contacts") -> Entry:
    """Submit a record, send it alone, and answer its call."""
    (entry,) = submit(engine, record(), key=key, now=now)
    engine.flush(now)
    for batch in dispatched(engine, now):
        answer(engine, batch, told, now=now, jitter=1.0)
    engine.poll(now)
    return entry


def opened(told: Any = REVOKED, **options: Any) -> Engine:
    """An engine whose breaker of "contacts" opened at 1.0, for 5 seconds."""
    engine = make(**options)
    send_one(engine, told, 0.0)
    send_one(engine, told, 1.0)
    return engine


def changes(engine: Engine) -> list[Any]:
    return [(change.key, change.of_all, change.state) for change in engine.accumulator.breakers.changes]


def is_told_at_once(engine: Engine, now: float, key: str = "contacts") -> bool:
    engine.poll(now)
    entry = record()
    verb = engine.submit(entry, key, now)
    plan = engine.poll(now)
    if entry.state is State.SETTLED:
        assert verb is Verb.DISPATCH and plan.settled == [entry]
    return entry.state is State.SETTLED


def test_after_failures_in_a_row_callers_are_told_at_once_that_nothing_was_applied():
    engine = opened()
    (entry,) = submit(engine, record(), now=5.5)
    plan = engine.poll(5.5)

    assert plan.settled == [entry] and not plan.batches
    assert entry.fate() == NotWritten(
        "the circuit breaker of its lane is open: 2 calls in a row have failed, the last: HTTP 401"
    )
    assert changes(engine) == [("contacts", False, "open")]
    assert engine.accumulator.breakers.open == 1


def test_half_open_sends_one_record_and_the_others_wait_for_what_comes_of_it():
    engine = opened(max_records=10)
    entries = submit(engine, *numbered(10), now=6.0)
    (probe,) = dispatched(engine, 6.0)
    assert probe.records == [0]
    assert not dispatched(engine, 9.0)
    answer(engine, probe, ["ok"], now=10.0)
    (rest,) = dispatched(engine, 11.0)

    assert rest.records == list(range(1, 10))
    assert entries[0].fate() is not None
    assert [state for *_, state in changes(engine)] == ["open", "half_open", "closed"]
    assert engine.accumulator.breakers.open == 0


def test_a_probe_that_fails_opens_it_for_twice_as_long_and_tells_those_who_waited():
    engine = opened()
    waiting = submit(engine, record(), record(), now=6.0)
    engine.flush(6.0)
    (probe,) = dispatched(engine, 6.0)
    answer(engine, probe, REVOKED, now=6.0)
    engine.poll(6.0)

    assert all(entry.state is State.SETTLED for entry in waiting)
    assert is_told_at_once(engine, 15.5)
    assert not is_told_at_once(engine, 16.0)
    assert [state for *_, state in changes(engine)] == ["open", "half_open", "open"]


def test_the_pause_between_probes_has_a_cap():
    engine, now = opened(), 6.0
    for pause in (10, 15, 15):
        send_one(engine, REVOKED, now)
        assert is_told_at_once(engine, now + pause - 0.5)
        now += pause


@pytest.mark.parametrize("good", [["ok"], [Rejected("bad")], [ValueError("bad")], Refused("bad")])
def test_a_record_that_was_looked_at_ends_the_row(good):
    """Also if it was refused: a breaker is no judge of records."""
    engine = make()
    for now in range(4):
        send_one(engine, REVOKED if now % 2 else good, float(now))
    assert not is_told_at_once(engine, 4.0)


@pytest.mark.parametrize("told", [DOWN, OSError("reset"), [Retry("locked")], [Unknown("?")], None, TimeoutError()])
def test_what_may_do_better_next_time_has_patience(told):
    """Nobody who could have been served within his retry deadline is turned away; later ones need not wait as long."""
    engine = make(BreakerPolicy(failures=2))
    for now in (0.0, 30.0, 59.0):
        send_one(engine, told, now)
    assert engine.accumulator.lanes.by_key.get("contacts") is None or not is_told_at_once(engine, 59.5)
    send_one(engine, told, 60.0)
    assert is_told_at_once(engine, 60.5)


def test_those_who_wait_for_another_try_are_told_when_it_opens():
    """And one that may have been applied is unknown."""
    engine = make_engine(retry=RetryPolicy(breaker=AT_ONCE, backoff_base=32, backoff_cap=32, on_unknown="retry"))
    first = send_one(engine, Retry("lost", applied="maybe"), 0.0)
    (second,) = submit(engine, record(), now=1.0)
    third = send_one(engine, DOWN, 1.0)

    assert first.fate() == Unknown(
        "the circuit breaker of its lane is open: 2 calls in a row have failed, the last: connect"
    )
    assert [entry.fate().kind for entry in (second, third)] == ["not_written"] * 2  # type: ignore[union-attr]
    assert engine.pending == 0


def test_a_call_that_was_out_when_it_opened_and_does_well_closes_it():
    engine = make(max_records=1)
    submit(engine, *numbered(3))
    calls = dispatched(engine)
    answer(engine, calls[0], REVOKED)
    answer(engine, calls[1], REVOKED)
    assert is_told_at_once(engine, 0.0)
    answer(engine, calls[2], ["ok"])
    assert not is_told_at_once(engine, 0.0)


def test_it_is_remembered_when_the_lane_is_forgotten():
    """An idle lane costs nothing, and yet its next record does not begin from nothing."""
    engine = opened()
    assert not engine.accumulator.lanes.by_key
    assert is_told_at_once(engine, 2.0)
    submit(engine, *numbered(6), now=6.0)
    assert len(dispatched(engine, 6.0)) == 1, "half-open, also as a new lane"


def test_one_broken_lane_is_no_broken_destination():
    """P10: whatever happens to one, the others go on."""
    engine = make()
    for now in range(9):
        send_one(engine, DOWN, float(now))
    assert not is_told_at_once(engine, 9.0, key="deals")
    assert not any(of_all for _, of_all, _ in changes(engine))


def test_when_nothing_goes_through_in_several_lanes_it_is_the_destination():
    """Lanes that have failed are told at once. One that has not may try, one record at a time for all of them."""
    engine = make(BreakerPolicy(failures=4, patience=0))
    for now, key in enumerate(("contacts", "deals", "contacts", "deals")):
        send_one(engine, DOWN, float(now), key)
    assert ("deals", True, "open") in changes(engine)
    assert is_told_at_once(engine, 4.0) and is_told_at_once(engine, 4.0, key="deals")

    waiting = submit(engine, *numbered(3), key="notes", now=4.0) + submit(engine, *numbered(3), key="tasks", now=4.0)
    (probe,) = dispatched(engine, 4.0)
    assert len(probe.entries) == 1
    answer(engine, probe, DOWN, now=5.0)
    engine.poll(5.0)
    told = [entry.fate() for entry in waiting if entry not in probe.entries]
    assert {fate.kind for fate in told if fate} == {"not_written"}
    assert all(fate and "the destination" in str(fate) for fate in told)


def test_one_tenant_with_many_lanes_is_no_broken_destination():
    """P10: where lanes are shared out among tenants, it is tenants that count."""
    engine = make(BreakerPolicy(failures=2, patience=0), fairness=Fairness(by=lambda key: key[0]))
    for key in ("a1", "a2", "a3"):
        send_one(engine, DOWN, 0.0, key)
    assert not any(of_all for _, of_all, _ in changes(engine))
    send_one(engine, DOWN, 0.0, "b1")
    assert ("b1", True, "open") in changes(engine)


def test_one_success_anywhere_closes_that_of_the_destination():
    engine = make(BreakerPolicy(failures=2, patience=0))
    send_one(engine, DOWN, 0.0)
    send_one(engine, DOWN, 0.0, key="deals")
    send_one(engine, ["ok"], 1.0, key="notes")

    assert changes(engine)[-1] == ("notes", True, "closed")
    assert not is_told_at_once(engine, 1.0, key="deals")


def test_the_destination_is_tried_one_call_at_a_time_and_lanes_that_failed_begin_with_one_each():
    """All calls at once would be the next outage."""
    engine = make(BreakerPolicy(failures=2, patience=0), max_records=1, max_in_flight=8)
    for key in ("contacts", "deals"):
        send_one(engine, DOWN, 0.0, key)
    for key in ("contacts", "deals"):
        submit(engine, *numbered(20), key=key, now=10.0)
    out = []
    for now in range(10, 14):
        batches = dispatched(engine, float(now))
        out.append(len(batches))
        for batch in batches:
            answer(engine, batch, ["ok"], now=float(now))
    assert out == [1, 3, 5, 7]


def test_a_false_alarm_costs_the_healthy_one_call():
    """P10: in a quiet hour two broken lanes look like a broken destination. One call of another tells."""
    engine = make(BreakerPolicy(failures=2, patience=0), max_records=1, max_in_flight=8, max_lane_in_flight=8)
    for key in ("contacts", "deals"):
        send_one(engine, DOWN, 0.0, key)
    submit(engine, *numbered(20), key="notes", now=1.0)
    (probe,) = dispatched(engine, 1.0)
    answer(engine, probe, ["ok"], now=2.0)
    assert len(dispatched(engine, 2.0)) == 8


def test_a_group_is_turned_away_whole():
    engine = opened()
    members = numbered(2)
    _, verb = engine.submit_group(members, "contacts", 2.0)

    assert verb is Verb.DISPATCH
    assert [member.fate().kind for member in members] == ["not_written"] * 2  # type: ignore[union-attr]


def test_who_waited_for_a_place_is_told_when_it_gets_one():
    engine = make(max_pending_records=2, max_lane_records=2, max_records=1, max_lane_in_flight=2)
    entries = submit(engine, *numbered(3))
    calls = dispatched(engine)
    assert entries[2].state is State.WAITING
    for call in calls:
        answer(engine, call, REVOKED)
    plan = engine.poll(0.0)

    assert plan.admitted == [entries[2]]
    assert entries[2] in plan.settled


def test_an_answer_to_a_question_counts_for_nothing_and_no_answer_as_a_failure():
    """Whatever it says of records that are there, it says nothing of how writes fare."""
    rules = LaneRules(verifiable=True)
    policy = RetryPolicy(breaker=AT_ONCE, on_unknown="verify", backoff_base=0)
    for told, closed in ((ABSENT, True), ([Retry("busy")], False), (OSError("reset"), False)):
        engine = make_engine(retry=policy, rules_of=lambda key: rules)
        (entry,) = submit(engine, record())
        engine.flush(0.0)
        answer(engine, dispatched(engine)[0], OSError("reset"))
        answer(engine, dispatched(engine)[0], told)
        engine.poll(0.0)
        assert (entry.state is not State.SETTLED) == closed
        assert is_told_at_once(engine, 0.0) != closed


def test_a_bug_while_settling_closes_no_breaker(monkeypatch):
    """It says nothing good of the destination."""
    engine = opened()
    submit(engine, record(), now=6.0)
    engine.flush(6.0)
    (probe,) = dispatched(engine, 6.0)

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(engine._settling, "_settled", broken)
    with pytest.raises(RuntimeError):
        answer(engine, probe, ["ok"], now=6.0)
    assert engine.accumulator.breakers.open == 1
    assert is_told_at_once(engine, 7.0)


def test_without_a_policy_it_never_opens():
    engine = make(None)
    for now in range(99):
        send_one(engine, REVOKED, float(now))
    assert not is_told_at_once(engine, 99.0)
    assert not changes(engine)


def test_lanes_that_failed_are_forgotten_beyond_a_bound(monkeypatch):
    """P9: a million keys that failed once cost no more than ten thousand."""
    monkeypatch.setattr("batcher._core.breakers._MOST_LANES", 2)
    engine = make(BreakerPolicy(failures=1, patience=0))
    for key in ("a", "b", "c"):
        send_one(engine, REVOKED, 0.0, key)
    assert [is_told_at_once(engine, 0.0, key) for key in ("b", "c")] == [True, True]
    assert engine.accumulator.breakers.refuses(make_lane(), 1.0) is None
    assert engine.accumulator.breakers.open == 2 + 1, "two lanes, and the destination"
    assert not is_told_at_once(engine, 1.0, "a")


def test_a_breaker_says_how_long_the_row_is():
    breaker = Breaker(AT_ONCE)
    assert not breaker.note_failure(ConnectionError("secret"), 0.0, 0.0)
    assert breaker.note_failure(ConnectionError("secret"), 0.0, 0.0)
    assert breaker.why("its lane") == (
        "the circuit breaker of its lane is open: 2 calls in a row have failed, the last: ConnectionError"
    )


def test_changes_name_the_lane():
    breakers = Breakers(BreakerPolicy(failures=1, patience=0), 60.0)
    breakers.note(make_lane(), Signal(failure="down", for_good=True), 0.0)
    assert breakers.changes == [Change("contacts", False, "open")]


def down(breaker: BreakerPolicy = AT_ONCE, **options: Any) -> Engine:
    """An engine whose breaker of the destination opened at 1.0, for 5 seconds."""
    engine = make(breaker, **options)
    send_one(engine, DOWN, 0.0, "a")
    send_one(engine, DOWN, 1.0, "b")
    assert changes(engine)[-1] == ("b", True, "open")
    return engine


def sends(engine: Engine, key: str, now: float) -> bool:
    """Whether a new record of *key* is sent, to a destination that is down; else it is told at once."""
    entry = record()
    engine.submit(entry, key, now)
    told = entry.state is State.SETTLED
    engine.flush(now)
    calls = dispatched(engine, now)
    for batch in calls:
        answer(engine, batch, DOWN, now=now)
    engine.poll(now)
    fate = entry.fate()
    assert fate is not None and "the circuit breaker of the destination is open" in str(fate)
    assert told != bool(calls)
    return bool(calls)


def test_new_lanes_that_come_by_do_not_lock_the_batcher():
    """A destination that is down for long is left alone for longer; who tries before it is time does not count."""
    engine = down()
    for number in range(40):
        sends(engine, f"new{number}", 1.1 + number / 20)
    assert is_told_at_once(engine, 5.9, "a")
    assert is_told_at_once(engine, 5.9, "new0")
    assert sends(engine, "a", 6.0), "the cooldown is what it was"
    assert is_told_at_once(engine, 15.9, "a"), "that was the first that counts"
    assert not is_told_at_once(engine, 16.0, "a")


def test_early_tries_get_rarer():
    """Calls are metered: each that fails makes a false alarm less likely. The others are told at once."""
    engine = down(BreakerPolicy(failures=2, patience=0, cooldown=100, cooldown_cap=100))
    tried = [number / 10 for number in range(11, 600) if sends(engine, f"new{number}", number / 10)]
    assert tried == [1.1, 2.1, 4.1, 8.1, 16.1, 32.1]


def test_who_comes_while_an_early_try_is_out_waits_for_what_comes_of_it():
    """One at a time; and if that does well, it was a false alarm that cost nobody anything."""
    engine = down()
    submit(engine, record("try"), key="notes", now=2.0)
    engine.flush(2.0)
    (probe,) = dispatched(engine, 2.0)
    (other,) = submit(engine, record("other"), key="tasks", now=2.5)
    engine.flush(2.5)
    assert not dispatched(engine, 2.5)
    assert is_told_at_once(engine, 2.5, "a"), "it has failed: the others are the better judges"
    answer(engine, probe, ["ok"], now=3.0)
    (batch,) = dispatched(engine, 3.0)
    assert batch.entries == [other]
    assert changes(engine)[-1] == ("notes", True, "closed")


def test_a_lane_that_has_not_failed_is_told_before_its_delay_is_over():
    """At once means at once, also for a lane that was there when the breaker opened, and for many records together."""
    engine = make(max_delay=5.0)
    batch = one_batch(engine, *numbered(2))
    answer(engine, batch, ["ok", Retry("busy", after=50, pause_lane=True)])
    for key in ("a", "b"):
        send_one(engine, DOWN, 1.0, key)
    assert sends(engine, "notes", 1.5)
    for key in ("contacts", "tasks"):
        many = numbered(2)
        assert engine.submit_many(many, key, 1.6) == 0
        assert engine.submit(many[0], key, 1.6) is Verb.DISPATCH
        assert many[0].state is State.SETTLED


def test_who_waited_for_one_that_is_told_is_told_as_well():
    """It enters its lane only then, behind the others that were told."""
    engine = down()
    submit(engine, record("try"), key="new", now=2.0)
    engine.flush(2.0)
    (probe,) = dispatched(engine, 2.0)
    submit(engine, record(), key="notes", now=2.0)
    submit(engine, record("first", identity="ada"), key="tasks", now=2.0)
    (second,) = submit(engine, record("second", identity="ada", delay=0.0), key="notes", now=2.0)
    assert engine.accumulator.lanes.by_key["notes"].parked == 1
    answer(engine, probe, DOWN, now=2.0)
    assert not dispatched(engine, 2.0)
    assert second.state is State.SETTLED


def test_once_it_is_closed_nobody_looks_closer():
    """The short way in is open again, for lanes that were there as well as for new ones."""
    engine = down(max_records=9)
    submit(engine, *numbered(2), key="notes", now=6.0)
    engine.flush(6.0)
    (probe,) = dispatched(engine, 6.0)
    answer(engine, probe, ["ok"], now=6.0)
    for key in ("notes", "tasks"):
        assert engine.submit_many(numbered(2), key, 6.0) == 2


def test_calls_that_were_out_when_it_opened_do_not_keep_it_open():
    """They say nothing that is not known: the first that is sent when the cooldown is over does."""
    engine = make(max_records=1)
    submit(engine, *numbered(3))
    calls = dispatched(engine)
    answer(engine, calls[0], REVOKED, now=0.0)
    answer(engine, calls[1], REVOKED, now=1.0)
    answer(engine, calls[2], REVOKED, now=5.0)
    assert is_told_at_once(engine, 5.9)
    assert not is_told_at_once(engine, 6.0)
