"""Ampersand: the short way through the usual answer says what the careful one says, or nothing."""

from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.destinations._http.answers import Answer
from batcher.destinations.ampersand import results as reading
from batcher.destinations.ampersand.answers import verdicts_of
from batcher.destinations.ampersand.results import written_in_order
from batcher.outcomes import Refused, Retry, Unknown, Written
from batcher.writes import Write
from tests.destinations.ampersand.helpers import LINK, answer, counted, create, good, items_of, read, update
from tests.samples import examples

SHORT, LONG = "003000000000001", "003000000000001AAA"
PROVIDERS = st.sampled_from(["salesforce", "salesforce", "salesforce", "hubspot", None])
# What may stand where a member of the answer, or of one of its results, belongs; None takes it away.
ODD_IDS = st.sampled_from([None, "", SHORT, LONG, "id0", "id1", 7, ["id1"], False])
ODD = st.sampled_from([None, True, False, 1, 0, "true", [], {}, {"email": "a@x"}, [{"message": "taken"}], "words"])
ODD_COUNTS = st.sampled_from([None, True, False, 0, 1, 2, 3, 2.0, -1, "2"])


def told(reply: Answer, writes: list[Write], provider: Any, group: bool) -> Any:
    """What comes of an answer, with its errors in words that can be compared."""
    kind, items = writes[0].type, items_of(writes, provider)
    try:
        return verdicts_of(reply, items, type=kind, provider=provider, now=0.0, all_or_none=group)
    except (Retry, Refused) as error:
        return repr(error)


@st.composite
def nearly_usual(draw: Any) -> tuple[list[Write], dict[str, Any]]:
    """Writes, and an answer that is the usual one but for a few members."""
    count = draw(st.integers(1, 3))
    ids = draw(st.lists(st.sampled_from(["id0", "id1", "id2", SHORT, LONG]), min_size=count, max_size=count))
    updates, linked = draw(st.booleans()), draw(st.booleans())
    results = [good(record_id) for record_id in ids]
    if updates:
        writes = [update(record_id) for record_id in ids]
    else:
        writes = [create({"n": n}, associations=(LINK,) if linked and not n else ()) for n in range(count)]
    if not draw(st.integers(0, 3)):
        results = draw(st.permutations(results))
    for result in results:
        name = draw(st.sampled_from([*[""] * 6, "success", "recordId", "data", "errors"]))
        if name:
            result[name] = draw(ODD_IDS if name == "recordId" else ODD)
    if not draw(st.integers(0, 4)):
        results = draw(st.sampled_from([results[1:], [*results, good("id9")], [*results[1:], None], [], "all", None]))
    body = counted(count, 0, results)
    name = draw(st.sampled_from([*[""] * 6, "successCount", "failureCount", "errors", "warnings"]))
    if name:
        body[name] = draw(ODD_COUNTS if "Count" in name else ODD)
    return writes, body


@settings(max_examples=examples(500), deadline=None)
@given(nearly_usual(), PROVIDERS, st.booleans())
def test_p02_the_short_way_says_what_the_careful_one_says(asked: Any, provider: Any, group: bool) -> None:
    """Counts, results and ids that are not what they should be, in any place: both ways come to the same verdicts."""
    writes, body = asked
    if provider != "hubspot":
        writes = [Write(write.object, write.type, write.record) for write in writes]  # only HubSpot takes associations
    reply = answer(200, body)

    short = told(reply, writes, provider, group)
    with mock.patch.object(reading, "written_in_order", return_value=None):
        careful = told(reply, writes, provider, group)

    assert short == careful


@pytest.mark.parametrize(
    "writes", [[create({"n": 1}), create({"n": 2})], [update(SHORT), update("id2")]], ids=["creates", "updates"]
)
def test_the_usual_answer_takes_the_short_way(writes: list[Write]) -> None:
    """All written and in order, also where an id comes back in its longer form, and whatever else a result holds."""
    results = [{**good(LONG), "errors": []}, {**good("id2"), "more": 1}]
    known = SHORT if writes[0].type == "update" else LONG

    with mock.patch.object(reading, "whose", side_effect=AssertionError("the careful way")):
        verdicts = read(answer(200, counted(2, 0, results)), writes, "salesforce")

    assert verdicts == [Written(known), Written("id2")]


def test_an_update_keeps_the_id_that_its_caller_knows() -> None:
    """In its longer form, too, whichever form comes back."""
    items = items_of([update(LONG), update("id2")], "salesforce")

    assert written_in_order([good(SHORT), good("id2")], items, "salesforce") == [Written(LONG), Written("id2")]
    assert written_in_order([good(LONG), good("id2")], items, "salesforce") == [Written(LONG), Written("id2")]


@pytest.mark.parametrize(
    ("provider", "second"),
    [
        ("hubspot", good("id2")),
        (None, good("id2")),
        ("salesforce", good()),
        ("salesforce", good("")),
        ("salesforce", {"success": True, "recordId": 7}),
        ("salesforce", good("id2", {"n": 2})),
        ("salesforce", good("id1")),
        ("salesforce", {**good("id2"), "success": 1}),
        ("salesforce", {**good("id2"), "success": False}),
        ("salesforce", None),
    ],
)
def test_p02_nothing_else_takes_the_short_way(provider: Any, second: Any) -> None:
    """Another provider, no id, an id that is none or is there twice, data, or no success: it takes a closer look."""
    items = items_of([create({"n": 1}), create({"n": 2})], provider)

    assert written_in_order([good("id1"), second], items, provider) is None


def test_p02_updates_in_another_order_are_not_taken_in_order() -> None:
    """The ids that come back show whose results they are."""
    writes, results = [update("id1"), update("id2")], [good("id2"), good("id1")]

    assert written_in_order(results, items_of(writes, "salesforce"), "salesforce") is None
    assert read(answer(200, counted(2, 0, results)), writes, "salesforce") == [Written("id1"), Written("id2")]


@pytest.mark.parametrize(("succeeded", "failed"), [(1, 1), (3, 0), (1, 0), (2, 1)])
def test_p02_counts_that_are_at_odds_with_the_results_are_believed_by_nobody(succeeded: int, failed: int) -> None:
    """Results that all look well do not outweigh a count that says otherwise."""
    verdicts = read(
        answer(200, counted(succeeded, failed, [good("id1"), good("id2")])), [create(), create()], "salesforce"
    )

    assert [type(each) for each in verdicts] == [Unknown, Unknown]
