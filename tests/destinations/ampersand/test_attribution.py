"""Ampersand: whatever the answer does to its results, no record gets what is another's."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.destinations._http.answers import Answer
from batcher.destinations.ampersand.answers import verdicts_of
from batcher.outcomes import Refused, Rejected, Unknown, Written
from batcher.writes import Write, WriteType
from tests.destinations.ampersand.helpers import NO_REASON, answer, counted, create, good, items_of, read
from tests.samples import examples

# Few values and few fields, so that records are often alike, or contain each other.
VALUES = st.sampled_from(["a@x", "A@X ", "b@x", "", None, True, 1, 1.0, 2.5, "1", ["a"], {"n": 1}])
RECORDS = st.dictionaries(st.sampled_from(["email", "name", "n"]), VALUES, min_size=1)
LIES = st.sampled_from([0, 0, 0, 1, -1])


def echo_of(record: dict[str, Any]) -> dict[str, Any]:
    """What HubSpot makes of a record: strings, in lower case, and fields of its own; empty ones are gone."""
    texts = {name: value if isinstance(value, str) else str(value).lower() for name, value in record.items()}
    normal = {"1.0": "1", "['a']": '["a"]', "{'n': 1}": '{"n": 1}', "none": ""}
    echo = {name: normal.get(text, text).strip().lower() for name, text in texts.items()}
    return {name: text for name, text in echo.items() if text} | {"hs_object_id": "7"}


@st.composite
def garbled(draw: Any, results: list[dict[str, Any]], ordered: bool) -> list[dict[str, Any]]:
    """The results as they arrive: some dropped, and unless their order is promised, some doubled and all shuffled."""
    kept = [result for result in results if draw(st.integers(0, 5))]
    if not ordered:
        if kept:
            kept += draw(st.lists(st.sampled_from(kept), max_size=2))
        kept = draw(st.permutations(kept))
    kept = [dict(result) for result in kept]
    for result in kept:
        if result.get("data") and draw(st.booleans()):
            lost = draw(st.sets(st.sampled_from(sorted(result["data"]))))
            result["data"] = {name: value for name, value in result["data"].items() if name not in lost}
        for name in ("recordId", "data"):
            if not draw(st.integers(0, 5)):
                result.pop(name, None)
    return kept


def meant(reply: Answer, writes: list[Write], kind: WriteType, provider: Any, group: bool) -> list[Any]:
    items = items_of(writes, provider)
    try:
        return verdicts_of(reply, items, type=kind, provider=provider, now=0.0, all_or_none=group)
    except Refused:
        return [Refused] * len(items)


@settings(max_examples=examples(500), deadline=None)
@given(st.data())
def test_p02_no_record_id_reaches_the_wrong_caller(data: st.DataObject) -> None:
    """
    Results shuffled, dropped, doubled, stripped of fields, under true counts and false ones: an id is that of its own
    record or is not given. Under true counts no success is called a failure, nor a failure a success.
    """
    provider = data.draw(st.sampled_from([None, "hubspot", "salesforce"]))
    kind = data.draw(st.sampled_from([WriteType.CREATE, WriteType.UPDATE]))
    records = data.draw(st.lists(RECORDS, min_size=2, max_size=6))
    fates = data.draw(st.lists(st.booleans(), min_size=len(records), max_size=len(records)))
    ids = [f"id{index}" for index in range(len(records))]
    results: list[dict[str, Any]] = []
    for record_id, record, fate in zip(ids, records, fates, strict=True):
        echo = None if provider == "salesforce" else echo_of(record)
        results.append({**good(record_id, echo), "success": True} if fate else {"success": False})
    # Salesforce promises the order of creates, and nothing in its answer could show that it was broken.
    arrived = data.draw(garbled(results, provider == "salesforce" and kind is WriteType.CREATE))
    lie = data.draw(LIES)
    succeeded = sum(fates) + lie
    writes = [
        Write("contacts", kind, record if kind is WriteType.CREATE else {**record, "id": record_id, "z": 1})
        for record_id, record in zip(ids, records, strict=True)
    ]

    verdicts = meant(
        answer(200, counted(succeeded, len(records) - succeeded, arrived)),
        writes,
        kind,
        provider,
        data.draw(st.booleans()),
    )

    for verdict, record_id, fate in zip(verdicts, ids, fates, strict=True):
        if isinstance(verdict, Written):
            assert verdict.record_id in (None, record_id)
        if not lie:
            assert not (isinstance(verdict, Written) and not fate)
            assert not ((isinstance(verdict, Rejected) or verdict is Refused) and fate)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda each: st.lists(each, max_size=3)
    ),
    st.sampled_from(["successCount", "failureCount", "results", "result", "errors", "warnings", "operationId"]),
    st.sampled_from([None, "salesforce", "hubspot"]),
)
def test_garbage_in_any_place_of_an_answer_hurts_nobody(value: Any, name: str, provider: Any) -> None:
    """Whatever stands where counts, results or errors belong: one verdict per record, or nothing was applied."""
    body = counted(1, 1, [good("1"), {"success": False}], ["taken"]) | {name: value}
    writes = [create({"email": "a@x"}), create({"email": "b@x"})]

    verdicts = meant(answer(200, body), writes, WriteType.CREATE, provider, False)

    assert len(verdicts) == 2
    assert all(isinstance(each, (Written, Rejected, Unknown)) or each is Refused for each in verdicts)


@pytest.mark.parametrize(
    ("sent", "echo", "owner"),
    [
        ([{"email": "Ada@X"}, {"email": "bob@x"}], {"email": "ada@x", "lifecycle": "lead"}, 0),
        ([{"n": 1, "ok": True}, {"n": 2, "ok": True}], {"n": "2", "ok": "true"}, 1),
        ([{"n": 1.0}, {"n": 1.5}], {"n": "1"}, 0),
        ([{"email": "a", "phone": None}, {"email": "b"}], {"email": "a"}, 0),
        ([{"email": "a"}, {"email": "b"}], {"id": "7", "properties": {"email": "b"}}, 1),
        ([{"properties": {"n": 1}}, {"properties": {"n": 2}}], {"properties": {"n": 1}}, 0),
        # Nothing to tell them by.
        ([{"email": "a"}, {"email": "A "}], {"email": "a"}, None),
        ([{"email": "a"}, {"email": "b"}], {}, None),
        ([{"email": "a"}, {"email": "b"}], {"email": "c"}, None),
        # The other record may be meant: the provider left out its phone, or wrote it in another way.
        ([{"email": "a"}, {"email": "a", "phone": "1"}], {"email": "a"}, None),
        ([{"country": "us"}, {"country": "us", "phone": "+1 5"}], {"country": "us", "phone": "+15"}, None),
        ([{"email": "a", "phone": "+1 5"}, {"email": "b"}], {"email": "a", "phone": "+15"}, None),
        ([{"email": "a", "phone": "1"}, {"email": "b"}], {"email": "a"}, None),
        ([{"email": ""}, {"email": "b"}], {}, None),
    ],
)
def test_an_echo_belongs_to_one_record_or_to_none(sent: Any, echo: Any, owner: int | None) -> None:
    """It must have all that its record has, nothing that only another has, and contradict every other."""
    writes = [create(record) for record in sent]
    verdicts = read(answer(200, counted(2, 0, [good("7", echo)])), writes, "hubspot")

    assert [each.record_id for each in verdicts] == ["7" if index == owner else None for index in range(2)]


def test_a_wrong_word_for_the_provider_is_noticed() -> None:
    """Salesforce echoes no data; results that do are not taken in order, although it was named."""
    writes = [create({"email": "a"}), create({"email": "a"})]
    body = counted(1, 1, [good("1", {"email": "a"}), {"success": False}])

    assert [type(each) for each in read(answer(200, body), writes, "salesforce")] == [Unknown, Unknown]
    assert read(answer(200, counted(1, 1, [good("1"), {"success": False}])), writes, "salesforce") == [
        Written("1"),
        Rejected(NO_REASON),
    ]
