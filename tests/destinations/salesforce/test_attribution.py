"""Salesforce: whatever the answer does to its results, no record gets what is another's."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.destinations._http.answers import Answer
from batcher.outcomes import Refused, Rejected, Retry, Unknown, Written
from batcher.writes import Write, WriteType
from tests.destinations.salesforce.helpers import (
    LOCKED,
    answer,
    bad,
    create,
    delete,
    good,
    read,
    sf_id,
    update,
    upsert,
)
from tests.samples import examples

KINDS: dict[WriteType, Callable[[int], Write]] = {
    WriteType.CREATE: lambda number: create({"LastName": str(number)}),
    WriteType.UPDATE: update,
    WriteType.UPSERT: upsert,
    WriteType.DELETE: delete,
}
CODES = st.sampled_from(["INVALID_FIELD", LOCKED, "ALL_OR_NONE_OPERATION_ROLLED_BACK"])


def meant(reply: Answer, writes: list[Write], group: bool) -> list[Any]:
    """The verdicts; those of a call that is refused or sent again as a whole are the same for each record."""
    try:
        return read(reply, writes, group)
    except (Refused, Retry) as whole:
        return [whole] * len(writes)


@st.composite
def garbled(draw: Any, results: list[dict[str, Any]], in_order: bool) -> list[dict[str, Any]]:
    """The results as they arrive: some dropped, some doubled, shuffled unless their order is promised, some stripped.

    Where results name no record, one that takes the place of another cannot be told from it: with a promised order
    those stay single.
    """
    kept = [dict(result) for result in results if draw(st.integers(0, 7))]
    for result in kept:
        if "id" in result and draw(st.booleans()):
            result["id"] = result["id"][:15]
        for name in ("id", "success", "errors"):
            if not draw(st.integers(0, 11)):
                result.pop(name, None)
    for index in reversed(range(len(kept))):
        if (not in_order or "id" in kept[index]) and not draw(st.integers(0, 7)):
            kept.insert(index, kept[index])
    if not in_order and draw(st.booleans()):
        kept = draw(st.permutations(kept))
    return kept


@settings(max_examples=examples(500), deadline=None)
@given(st.data())
def test_p02_no_record_id_reaches_the_wrong_caller(data: st.DataObject) -> None:
    """
    Results dropped, doubled, shuffled, stripped of fields: an id is that of its own record or is not given, and a
    record that was not written is never called written. If results that failed name their records, or keep their
    order, one that was written is never called refused either.
    """
    kind = data.draw(st.sampled_from(list(KINDS)))
    in_order = kind in (WriteType.CREATE, WriteType.UPSERT)
    fates = data.draw(st.lists(st.booleans(), min_size=1, max_size=6))
    named = data.draw(st.booleans())
    writes = [KINDS[kind](number) for number in range(len(fates))]
    results = [
        good(number) if fate else bad(data.draw(CODES), "m", number if named else None)
        for number, fate in enumerate(fates)
    ]
    arrived = data.draw(garbled(results, in_order))
    stripped = any(result.keys() < {"id", "success", "errors"} for result in arrived)
    status = data.draw(st.sampled_from([200, 201] if any(fates) else [200, 400]))

    verdicts = meant(answer(status, arrived), writes, data.draw(st.booleans()))

    assert len(verdicts) == len(fates)
    for number, (verdict, fate) in enumerate(zip(verdicts, fates, strict=True)):
        if isinstance(verdict, Written):
            assert fate
            assert verdict.record_id == sf_id(number)[: len(verdict.record_id or "")]
        if fate and (in_order or (named and not stripped)):
            assert isinstance(verdict, (Written, Unknown))
    if arrived == results:
        assert [isinstance(each, Written) for each in verdicts] == fates


@settings(max_examples=examples(150), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda each: st.lists(each, max_size=3)
    ),
    st.sampled_from(["id", "success", "errors", "created", "statusCode", "message", "fields"]),
    st.sampled_from([200, 400, 403]),
    st.booleans(),
)
def test_garbage_in_any_place_of_a_result_hurts_nobody(value: Any, name: str, status: int, group: bool) -> None:
    """Whatever stands where ids, success or errors belong: one verdict per record, and the neighbour's is its own."""
    broken = bad("INVALID_FIELD", "m", 1)
    target = broken if name in broken or name in ("id", "created") else broken["errors"][0]
    target[name] = value

    first, second = meant(answer(status, [broken, good(2)]), [update(1), update(2)], group)

    assert isinstance(first, (Rejected, Unknown, Written, Retry))
    assert isinstance(second, Unknown) or second == Written(sf_id(2))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda each: (
            st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(["success", "id", "errorCode"]), each)
        ),
    ),
    st.sampled_from([200, 400, 401, 403, 500]),
    st.booleans(),
)
def test_garbage_instead_of_an_answer_writes_nothing(body: Any, status: int, group: bool) -> None:
    """No record is called written because of it."""
    verdicts = meant(answer(status, body), [create(), create()], group)

    assert len(verdicts) == 2
    if not (isinstance(body, list) and len(body) == 2):
        assert not any(isinstance(each, Written) for each in verdicts)
