"""Layer 0: outcomes, verdicts, errors, policies, writes."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf, nan

import attrs
import pytest

from batcher import (
    Accepted,
    Association,
    AutoBatchPolicy,
    BreakerPolicy,
    ErrorDetail,
    Fairness,
    InvalidRecord,
    Limits,
    NotWritten,
    Quota,
    RecordRejected,
    RecordRolledBack,
    Refused,
    Rejected,
    Retry,
    RetryPolicy,
    RolledBack,
    Unknown,
    Write,
    WriteType,
    Written,
)
from batcher.errors import error_for
from batcher.policies import LaneRules
from batcher.writes import check_write


def test_errors_take_what_is_at_hand():
    """One detail, words, an exception, or several of them."""
    detail = ErrorDetail("m", code="C", fields=["a"])  # any iterable
    assert detail.fields == ("a",)
    assert Rejected(detail).errors == Rejected([detail]).errors == (detail,)
    assert Rejected("words").errors == (ErrorDetail("words"),)
    assert Rejected(KeyError("x")).errors == (ErrorDetail("'x'", code="KeyError"),)
    for bad in (3, [3]):
        with pytest.raises(TypeError, match="not int"):
            Rejected(bad)


def test_outcomes_are_frozen_values():
    """Equal if their content is, and not to be changed."""
    assert Written("1") == Written("1")
    assert len({Unknown("x"), NotWritten("x")}) == 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Written("1").record_id = "2"  # type: ignore[misc]


def test_every_outcome_answers_the_first_question():
    """Does the remote system hold it?"""
    outcomes = [Written(), Accepted("op"), Rejected("x"), RolledBack((), "x"), Unknown("x"), NotWritten("x")]
    assert [(outcome.kind, outcome.applied, outcome.ok) for outcome in outcomes] == [
        ("written", "yes", True),
        ("accepted", "maybe", True),
        ("rejected", "no", False),
        ("rolled_back", "no", False),
        ("unknown", "maybe", False),
        ("not_written", "no", False),
    ]


def test_what_was_accepted_has_no_id_yet():
    """So both successes may be asked for one."""
    assert (Accepted("op").record_id, Written("7").record_id) == (None, "7")


def test_a_retry_after_is_seconds_or_a_timedelta_and_never_in_the_past():
    """NaN and forever are refused: a lane paused for ever would never be heard of again."""
    assert Retry("x").after is None
    assert Retry("x", after=timedelta(minutes=1)).after == 60
    assert Retry("x", after=-3).after == 0
    for never in (nan, inf):
        with pytest.raises(ValueError, match="after must be a finite number of seconds"):
            Retry("x", after=never)
    with pytest.raises(ValueError, match="applied must be 'no' or 'maybe', not 'yes'"):
        Retry("x", applied="yes")  # type: ignore[arg-type]
    assert str(Retry(OSError("payload"))) == "OSError"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), (" 7 ", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None), ("", None), ("1e400", None)],
)
def test_a_retry_after_is_taken_as_the_header_has_it(text, seconds):
    """Digits or a date, of which one in the past is now; what nobody can read asks for nothing, and costs no batch."""
    assert Retry("429", after=text).after == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 01 Jan 99999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2026 99999999999999999999:00:00 GMT",
        "1.5",
        "-3",
    ],
)
def test_a_retry_after_that_nobody_can_read_is_none(text):
    """It is no reason to lose a batch of which nothing was applied."""
    assert Retry("429", after=text).after is None


def test_a_date_in_a_retry_after_is_seconds_from_now():
    """Counted when the verdict is made, and the same wait when it is unpickled later."""
    retry = Retry("429", after=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    assert retry.after == pytest.approx(3600, abs=60)
    assert pickle.loads(pickle.dumps(retry)).after == retry.after


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Retry("429", after=[1]), TypeError, "after must be seconds, a timedelta or the text of a Retry-After"),  # type: ignore[arg-type]
        (lambda: Retry("429", after=True), TypeError, "after must be seconds.*not bool"),
        (lambda: Retry(None), TypeError, "cause must be a few words or an exception, not NoneType"),  # type: ignore[arg-type]
        (lambda: Retry(OSError), TypeError, "cause must be a few words or an exception, not the class OSError"),  # type: ignore[arg-type]
        (lambda: Unknown(None), TypeError, "cause must be a few words or an exception, not NoneType"),  # type: ignore[arg-type]
        (lambda: NotWritten(429), TypeError, "cause must be a few words or an exception, not int"),  # type: ignore[arg-type]
        (lambda: Refused("bad", named=[0]), TypeError, "named must be a dict from the position.*not list"),  # type: ignore[arg-type]
        (lambda: Refused("bad", named={"0": "x"}), TypeError, "the keys of named must be positions.*not str"),  # type: ignore[dict-item]
        (lambda: Refused("bad", named={True: "x"}), TypeError, "the keys of named must be positions.*not bool"),
    ],
)
def test_a_verdict_that_says_nothing_is_refused_where_it_is_made(make, error, message):
    """By the name of the argument, the rule and what was given instead."""
    with pytest.raises(error, match=message):
        make()


def test_words_are_one_word_where_several_may_be():
    """Nobody means the letters."""
    assert Written("1", warnings="oops").warnings == ("oops",)
    assert ErrorDetail("m", fields="email").fields == ("email",)


def test_a_refusal_counts_what_it_names():
    """Printed by codes and counts."""
    refused = Refused(ErrorDetail("m", code="BAD"), {0: "a", 3: ErrorDetail("b")})
    assert refused.named == {0: (ErrorDetail("a"),), 3: (ErrorDetail("b"),)}
    assert str(refused) == "refused as a whole (BAD), 2 records named"
    assert str(Refused("x")) == "refused as a whole (no code), 0 records named"


def test_an_error_without_a_code_says_where_its_words_are():
    """They may quote the record, so they are not printed; but whoever sees the message finds them."""
    rejected = error_for(Rejected("name is missing"))
    assert str(rejected) == "the destination refused the record: no code given, its words are in .errors"
    assert isinstance(rejected, RecordRejected)
    assert [error.message for error in rejected.errors] == ["name is missing"]
    rolled_back = error_for(RolledBack((1,), "name is missing"))
    assert isinstance(rolled_back, RecordRolledBack)
    assert rolled_back.errors == rejected.errors
    assert str(rolled_back).endswith("1 of its members: no code given, its words are in .errors")


def test_error_messages_name_codes_and_fields_and_stay_short():
    """Five codes are enough to see the pattern."""
    errors = tuple(ErrorDetail("m", code=f"E{n}", fields=("email", "phone")) for n in range(7))
    assert str(error_for(Rejected(errors[:1]))) == "the destination refused the record: E0 (email, phone)"
    assert str(error_for(Rejected(errors))).endswith("E4 (email, phone); and 2 more")
    assert str(error_for(Rejected(()))) == "the destination refused the record: no reason given"
    assert "perhaps because of another record" in str(error_for(Rejected(errors, isolated=False)))
    assert str(error_for(RolledBack((1, 2), errors[:1]))).startswith("the group was rolled back because of 2 of its")
    assert "because of the call" in str(error_for(RolledBack((), errors[:1])))
    assert "after 3 attempts" in str(error_for(NotWritten("503", 3)))
    assert isinstance(error_for(Rejected(errors)), RecordRejected)
    assert isinstance(error_for(RolledBack((), errors)), RecordRolledBack)
    with pytest.raises(TypeError, match="Written is no failure"):
        error_for(Written())
    with pytest.raises(AssertionError, match="is a success"):
        str(RecordRejected(Written()))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AutoBatchPolicy(max_records=0), ValueError, "max_records must be at least 1, not 0"),
        (lambda: AutoBatchPolicy(max_records=True), TypeError, "max_records must be a whole number, not True"),
        (lambda: AutoBatchPolicy(max_bytes=1.5), TypeError, "max_bytes must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: AutoBatchPolicy(max_records=inf), TypeError, "max_records must be a whole number, not inf"),  # type: ignore[arg-type]
        (lambda: AutoBatchPolicy(max_delay=-0.1), ValueError, "max_delay must be at least 0 seconds, not -0.1"),
        (lambda: AutoBatchPolicy(max_delay=nan), ValueError, "max_delay must be at least 0 seconds, not nan"),
        (lambda: AutoBatchPolicy(max_delay=None), TypeError, "max_delay must be seconds or a timedelta, not NoneType"),  # type: ignore[arg-type]
        (lambda: AutoBatchPolicy(max_delay=True), TypeError, "not bool"),
        (lambda: RetryPolicy(max_attempts=0), ValueError, "max_attempts must be at least 1, not 0"),
        (lambda: RetryPolicy(max_attempts=1.5), TypeError, "max_attempts must be a whole number or math.inf, not 1.5"),
        (
            lambda: RetryPolicy(on_unknown="ask"),  # type: ignore[arg-type]
            ValueError,
            "on_unknown must be 'raise', 'retry' or 'verify', not 'ask'",
        ),
        (lambda: RetryPolicy(budget="x"), TypeError, "budget must be a number, not 'x'"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(budget_floor=-1), ValueError, "budget_floor must be at least 0, not -1"),
        (lambda: RetryPolicy(breaker=5), TypeError, "breaker must be BreakerPolicy\\(...\\) or None, not int"),  # type: ignore[arg-type]
        (lambda: BreakerPolicy(failures=0), ValueError, "failures must be at least 1, not 0"),
        (lambda: BreakerPolicy(cooldown=90), ValueError, "cooldown_cap must be at least cooldown, 90 s, not 60"),
        (lambda: BreakerPolicy(patience=-1), ValueError, "patience must be at least 0 seconds, not -1"),
        (lambda: BreakerPolicy(cooldown="x"), TypeError, "cooldown must be seconds or a timedelta, not str"),  # type: ignore[arg-type]
        (lambda: Fairness(weights={"a": "x"}), TypeError, "weights must be numbers, not 'x' for 'a'"),  # type: ignore[dict-item]
        (lambda: Fairness(weights={"a": 0}), ValueError, "weights must be above 0 and finite, not 0 for 'a'"),
        (lambda: Limits(fairness="x"), TypeError, "fairness must be Fairness\\(...\\) or None, not str"),  # type: ignore[arg-type]
        (lambda: Limits(quotas=5), TypeError, "quotas must be Quota\\(...\\) or several of them, not int"),  # type: ignore[arg-type]
        (lambda: Limits(quotas=[5]), TypeError, "quotas must hold Quota\\(...\\), not int"),  # type: ignore[list-item]
        (
            lambda: Quota(per=1, calls=1, by="x"),  # type: ignore[arg-type]
            TypeError,
            "by must be a function of the key of a lane, or None, not str",
        ),
        (lambda: Fairness(by=1), TypeError, "by must be a function of the key of a lane, or None, not int"),  # type: ignore[arg-type]
        (lambda: Limits(max_lane_records=0), ValueError, "max_lane_records must be at least 1, not 0"),
        (lambda: Limits(max_in_flight=0), ValueError, "max_in_flight must be at least 1, not 0"),
    ],
)
def test_policies_refuse_nonsense_in_words(make, error, message):
    """The message names the argument, the rule and the value."""
    with pytest.raises(error, match=message):
        make()


def test_one_quota_is_as_good_as_a_list_of_one():
    """Nobody has to know which it is."""
    quota = Quota(per=1, calls=1)
    assert Limits(quotas=quota).quotas == Limits(quotas=[quota]).quotas == (quota,)


def test_policies_convert_and_derive():
    """timedelta in, seconds inside; half of the house for one lane."""
    assert AutoBatchPolicy(max_delay=timedelta(milliseconds=20)).max_delay == 0.02
    assert RetryPolicy(max_attempts=inf).max_attempts == inf
    assert (Limits().lane_records, Limits().lane_bytes) == (50_000, 128 * 1024 * 1024)
    assert (Limits(max_pending_records=1).lane_records, Limits(max_pending_bytes=1).lane_bytes) == (1, 1)
    assert (Limits(max_lane_records=7).lane_records, Limits(max_lane_bytes=8).lane_bytes) == (7, 8)
    assert LaneRules().max_records == LaneRules().max_in_flight == inf


def test_defaults_are_the_documented_ones():
    """What README and the design say."""
    assert (AutoBatchPolicy().max_records, AutoBatchPolicy().max_bytes, AutoBatchPolicy().max_delay) == (
        100,
        10**6,
        0.05,
    )
    assert (RetryPolicy().deadline, RetryPolicy().on_unknown) == (60, "raise")
    limits = Limits()
    assert (limits.max_pending_records, limits.max_pending_bytes) == (100_000, 256 * 1024 * 1024)
    assert (limits.max_in_flight, limits.max_lane_in_flight) == (32, 4)
    assert (limits.call_timeout, limits.shutdown_timeout) == (60, 20)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (Write("contacts", "create", ["a"]), "record must be a mapping of field to value, not list"),  # type: ignore[arg-type]
        (Write("contacts", "create", {}), "record is empty"),
        (Write("contacts", "update", {"a": 1}), "'id' is missing: update needs"),
        (Write("contacts", "delete", {"a": 1}), "'id' is missing: delete needs"),
        (Write("contacts", "update", {"id": "1"}), "at least one field besides 'id'"),
        (Write("contacts", "update", {"id": 1, "a": 1}), "'id' must be a non-empty string, not int"),
        (Write("contacts", "delete", {"id": ""}), "'id' must be a non-empty string"),
        (Write("contacts", "delete", {"id": "1", "secret": "x"}), "a delete takes 'id' and nothing else; found 1 more"),
        (Write("contacts", "upsert", {"a": 1}), "an upsert needs by="),
        (Write("contacts", "upsert", {"a": 1}, by="email"), "matches on is missing"),
        (Write("contacts", "upsert", {"email": ""}, by="email"), "matches on is empty"),
        (Write("contacts", "upsert", {"email": None}, by="email"), "matches on is empty"),
        (Write("contacts", "create", {"email": "a"}, by="email"), "'by' belongs to an upsert, not to a create"),
    ],
)
def test_writes_that_nobody_can_make_are_refused_in_words(write, message):
    """Fields and rules are named, values are not."""
    with pytest.raises(InvalidRecord, match=message):
        check_write(write)


def test_writes_that_can_be_made_pass():
    """One of each type."""
    check_write(Write("contacts", "create", {"a": None}))
    check_write(Write("contacts", WriteType.UPDATE, {"id": "1", "a": None}))
    check_write(Write("contacts", "delete", {"id": "1"}))
    check_write(Write("contacts", "upsert", {"email": 0}, by="email"))


def test_a_write_is_a_value():
    """It is equal to its like, cannot be changed, and can be copied, changed in the copy, and sent elsewhere."""
    write = Write("c", "update", {"id": "1"}, associations=[Association("1", 2)], headers={"a": "b"})

    assert write == Write("c", WriteType.UPDATE, {"id": "1"}, associations=(Association("1", 2),), headers={"a": "b"})
    assert write != Write("c", "update", {"id": "1"})
    assert pickle.loads(pickle.dumps(write)) == copy.deepcopy(write) == write
    assert attrs.evolve(write, type="delete").type is WriteType.DELETE
    assert "'1'" not in repr(Write("c", "update", {"id": "1"}))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        write.object = "d"  # type: ignore[misc]


def test_what_a_write_does_not_name_is_its_own_and_empty():
    """No header put into one write is found in another."""
    one, other = Write("c", "create", {"a": 1}), Write("c", "create", {"a": 1}, headers=None)

    assert (one.by, one.associations, one.headers) == (None, (), {})
    assert one == other
    assert one.headers is not other.headers


def test_a_type_is_found_under_its_text():
    """As it is equal to its text, a dict does not tell them apart."""
    by_type: dict[str, int] = {WriteType.CREATE: 1}

    assert by_type["create"] == {"create": 1}[WriteType.CREATE] == 1
    assert len({*WriteType, "create", "update", "upsert", "delete"}) == 4


def test_a_write_knows_its_type_and_object():
    """Checked where it is made."""
    assert Write("contacts", "create", {}).type is WriteType.CREATE
    assert Write("c", "create", {"a": 1}, associations=[Association("1", 2)]).associations == (Association("1", 2),)
    with pytest.raises(ValueError, match="type must be one of create, update, upsert, delete, not 'merge'"):
        Write("contacts", "merge", {})
    with pytest.raises(ValueError, match="object must be the name of an object, not an empty string"):
        Write("", "create", {})
    with pytest.raises(TypeError, match="object must be the name of an object, not int"):
        Write(3, "create", {})  # type: ignore[arg-type]


@attrs.frozen
class Numbered(Write):
    """As an application may make of it."""

    number: int = attrs.field(default=0, kw_only=True)


def test_a_class_made_of_write_converts_and_checks_as_it_does():
    """Also where attrs writes the __init__, and not we."""
    write = Numbered("contact", "create", {"n": 1}, associations=[Association("1", 2)], number=7)
    assert (write.type, write.associations, write.headers, write.number) == (
        WriteType.CREATE,
        (Association("1", 2),),
        {},
        7,
    )
    with pytest.raises(ValueError, match="type must be one of create, update, upsert, delete, not 'nothing'"):
        Numbered("contact", "nothing", {"n": 1})
    with pytest.raises(ValueError, match="object must be the name of an object, not an empty string"):
        Numbered("", WriteType.CREATE, {"n": 1})
    with pytest.raises(TypeError, match="object must be the name of an object, not int"):
        Numbered(3, WriteType.CREATE, {"n": 1})  # type: ignore[arg-type]
