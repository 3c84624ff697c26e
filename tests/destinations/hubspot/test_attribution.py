"""HubSpot: whatever the answer does to its results and errors, no record gets what is another's."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.outcomes import Refused, Rejected, Unknown, Written
from batcher.writes import Write
from tests.destinations.hubspot.helpers import answer, bad, create, done, good, meant
from tests.samples import examples

# Few values and few fields, so that records are often alike, or contain each other, or become alike in HubSpot.
VALUES = st.sampled_from(["a@x", "A@X ", "", None, True, 1, "1.0", "+1 5", "15"])
RECORDS = st.dictionaries(st.sampled_from(["name", "n"]), VALUES, min_size=1) | st.fixed_dictionaries(
    {"n": st.sampled_from(["1", "1.0", "15", "+1 5"])}
)
KEYS = st.lists(
    st.sampled_from(["a@x", "B@x", "c@X ", "d@x", "e@x"]), unique_by=lambda key: key.strip().lower(), min_size=1
)


def stored(text: str, rough: bool) -> str:
    """What HubSpot makes of a value: other letters, other spaces, and with *rough* numbers and punctuation too."""
    text = text.strip().lower()
    return text.removesuffix(".0").replace("+1 ", "1") if rough else text


def echo_of(properties: dict[str, str], rough: bool) -> dict[str, str]:
    """The properties that come back: normal forms, fields of HubSpot's own, and no empty ones."""
    echo = {name: stored(text, rough) for name, text in properties.items()}
    return {name: text for name, text in echo.items() if text} | {"hs_object_id": "7"}


@st.composite
def written_and_answered(draw: Any) -> tuple[list[Write], list[str], list[bool], list[Any], list[Any], bool]:
    """Writes of one lane, the id and the fate of each, and the results and errors of a faithful answer."""
    kind = draw(st.sampled_from(["create", "update", "upsert"]))
    records = draw(st.lists(RECORDS, min_size=1, max_size=5))
    group, rough = draw(st.booleans()), draw(st.booleans())
    keys = draw(KEYS) if kind == "upsert" else []
    records = records[: len(keys)] if keys else records
    keys += [""] * len(records)
    fates = draw(st.lists(st.booleans(), min_size=len(records), max_size=len(records)))
    ids = [f"id{index}" for index in range(len(records))]
    echoes_traces = draw(st.booleans())
    writes, results, errors = [], [], []
    for index, (record_id, record, key, fate) in enumerate(zip(ids, records, keys, fates, strict=False)):
        if kind == "update":
            write = Write("contacts", "update", {**record, "id": record_id, "z": index})
        elif kind == "upsert":
            write = Write("contacts", "upsert", {**record, "key": key}, by="key")
        else:
            write = create(record)
        writes.append(write)
        sent = {name: str(value) for name, value in write.record.items() if name != "id" and value is not None}
        name: dict[str, Any] = {"update": {"ids": [record_id]}}.get(
            kind, {} if group else {"objectWriteTraceId": [str(index)]}
        )
        trace = {"objectWriteTraceId": str(index)} if echoes_traces and name and kind != "update" else {}
        if fate:
            results.append(good(record_id, echo_of({n: t.lower() for n, t in sent.items()}, rough), **trace))
        else:
            errors.append(bad(**name))
    if not rough and draw(st.booleans()):
        # HubSpot leaves out some of them. Not both: then nothing could tell whose they are, not even all together.
        for result in results:
            lost = draw(st.sets(st.sampled_from(sorted(result["properties"]))))
            result["properties"] = {name: text for name, text in result["properties"].items() if name not in lost}
    return writes, ids, fates, results, errors, group


@st.composite
def garbled(draw: Any, things: list[Any]) -> list[Any]:
    """Some dropped, some doubled, all shuffled."""
    kept = [each for each in things if draw(st.integers(0, 5))]
    if kept:
        kept = kept + draw(st.lists(st.sampled_from(kept), max_size=2))
    return list(draw(st.permutations(kept)))


@settings(max_examples=examples(400), deadline=None, derandomize=True)
@given(st.data())
def test_p02_no_record_gets_what_is_anothers(data: st.DataObject) -> None:
    """
    Results and errors shuffled, dropped and doubled at will, with trace ids and without: an id is that of its own
    record or is not given, no success is called a failure, and no failure a success.
    """
    writes, ids, fates, results, errors, group = data.draw(written_and_answered())
    body = done(data.draw(garbled(results)), data.draw(garbled(errors)))
    if data.draw(st.booleans()):
        del body["numErrors"]

    verdicts = meant(answer(207, body), writes, group)

    assert len(verdicts) == len(writes)
    for verdict, record_id, fate in zip(verdicts, ids, fates, strict=True):
        assert isinstance(verdict, (Written, Rejected, Unknown))
        if isinstance(verdict, Written):
            assert fate
            assert verdict.record_id in (None, record_id)
            assert verdict.data is None or verdict.data["id"] == record_id
        if isinstance(verdict, Rejected):
            assert not fate


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(st.data())
def test_p02_a_faithful_answer_tells_every_fate(data: st.DataObject) -> None:
    """
    Only shuffled: nobody is unknown whose error is named, and an id is missing only where records may be mistaken.
    """
    writes, ids, fates, results, errors, group = data.draw(written_and_answered())
    if group and errors:
        return  # then the whole call is refused
    body = done(data.draw(st.permutations(results)), data.draw(st.permutations(errors)))

    named = writes[0].type == "update" or len(writes) == 1 or all("objectWriteTraceId" in each for each in results)

    for verdict, record_id, fate in zip(meant(answer(207, body), writes), ids, fates, strict=True):
        assert isinstance(verdict, Written if fate else Rejected)
        if isinstance(verdict, Written) and named:
            assert verdict.record_id == record_id


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(["id", "context"]), each),
    ),
    st.sampled_from(["status", "results", "errors", "numErrors", "message", "context", "policyName", "category"]),
    st.sampled_from([[create(), create({"email": "b@x"})], [Write("c", "update", {"id": "1", "n": 1})]]),
    st.sampled_from([207, 400]),
)
def test_garbage_in_any_place_of_an_answer_hurts_nobody(value: Any, name: str, writes: Any, status: int) -> None:
    """Whatever stands where results or errors belong: one verdict per record, or nothing was applied."""
    body = done([good("1", {"email": "a@x"})], [bad(objectWriteTraceId=["1"])]) | {name: value}

    verdicts = meant(answer(status, body), writes)

    assert len(verdicts) == len(writes)
    assert all(isinstance(each, (Written, Rejected, Unknown)) or each is Refused for each in verdicts)
