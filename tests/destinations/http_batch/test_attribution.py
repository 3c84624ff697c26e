"""HttpBatch: whatever an answer does to its entries, no record gets what is another's."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.destinations.http_batch import Call, all_but, by_key, by_lists, in_order, unprocessed
from batcher.outcomes import Rejected, Retry, Unknown, Written
from tests.destinations.http_batch.helpers import call_of, fate
from tests.samples import examples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | st.sampled_from(["0", "1", "k0", "", "x"]),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "index", "ok", "bad", "none"]), each, max_size=3)
    ),
)


@st.composite
def calls(draw: Any) -> Call:
    """Records with a key of their own, or shared, or without one."""
    keys = draw(st.lists(st.sampled_from(["k0", "k1", "k2", "k3", "k4", None]), min_size=1, max_size=6))
    records = [{"n": index} if key is None else {"n": index, "key": key} for index, key in enumerate(keys)]
    return call_of(*records)


def garbled(draw: Any, entries: list[Any]) -> list[Any]:
    """Shuffled, some dropped, some doubled, some of nobody."""
    kept = [entry for entry in entries if draw(st.integers(0, 4))]
    if kept:
        kept += draw(st.lists(st.sampled_from(kept), max_size=2))
    if not draw(st.integers(0, 4)):
        kept.append(draw(JSON))
    shuffled: list[Any] = draw(st.permutations(kept))
    return shuffled


def keys_of(call: Call, natural: bool) -> list[str | None]:
    return [item.record.get("key") if natural else str(index) for index, item in enumerate(call.items)]


@settings(max_examples=examples(250), deadline=None)
@given(st.data())
def test_p02_keyed_entries_reach_their_own_record_or_nobody(data: st.DataObject) -> None:
    """Entries shuffled, dropped and doubled: a verdict is that of its own record, or unknown."""
    call = data.draw(calls())
    natural = data.draw(st.booleans())
    fates = [data.draw(st.sampled_from(["ok", "bad"])) for _ in call.items]
    keys = keys_of(call, natural)
    entries = [{"id": key, word: str(index)} for index, (key, word) in enumerate(zip(keys, fates, strict=True))]
    arrived = garbled(data.draw, entries)
    item_key = "key" if natural else None

    split = (
        [e for e in arrived if isinstance(e, dict) and "ok" in e],
        [e for e in arrived if not (isinstance(e, dict) and "ok" in e)],
    )
    for verdicts in (
        by_key(arrived, call, fate, item_key=item_key),
        by_lists(call, (split[0], fate), (split[1], fate), item_key=item_key),
    ):
        assert len(verdicts) == len(call.items)
        for index, (verdict, word) in enumerate(zip(verdicts, fates, strict=True)):
            shared = keys.count(keys[index]) > 1 or keys[index] is None
            # What belongs to nobody may by chance name a record that has lost its own entry.
            stray = any(e not in entries for e in arrived)
            if isinstance(verdict, Unknown):
                continue
            assert not shared
            assert arrived.count(entries[index]) <= 1
            if not stray:
                assert verdict == (Written(str(index)) if word == "ok" else Rejected(str(index)))


@settings(max_examples=examples(250), deadline=None)
@given(st.data())
def test_p02_no_failure_is_called_written(data: st.DataObject) -> None:
    """
    Failures shuffled, dropped and doubled, under a true count: a record that failed is never called written, and
    none that was written is called a failure, or sent again.
    """
    call = data.draw(calls())
    natural = data.draw(st.booleans())
    failing = [data.draw(st.booleans()) for _ in call.items]
    keys = keys_of(call, natural)
    errors = [{"index": key, "bad": str(index)} for index, key in enumerate(keys) if failing[index]]
    arrived = [each for each in garbled(data.draw, errors) if each in errors or not isinstance(each, dict)]
    item_key = "key" if natural else None
    left_over = data.draw(st.booleans())
    count = sum(failing)

    if left_over:
        verdicts = unprocessed(arrived, call, item_key=item_key, failed=count)
    else:
        verdicts = all_but(arrived, call, fate, item_key=item_key, failed=count)

    assert len(verdicts) == len(call.items)
    for index, (verdict, failed) in enumerate(zip(verdicts, failing, strict=True)):
        assert not (isinstance(verdict, Written) and failed)
        assert not (isinstance(verdict, (Rejected, Retry)) and not failed)
        if isinstance(verdict, Rejected):
            assert verdict == Rejected(str(index))


@settings(max_examples=examples(250), deadline=None)
@given(st.data())
def test_p02_results_in_order_are_complete_or_of_nobody(data: st.DataObject) -> None:
    """Dropped and doubled: unknown if that can be seen by the number; shuffled too, if they show whose they are."""
    ids = [f"id{index}" for index in range(data.draw(st.integers(1, 6)))]
    call = call_of(*({"id": each} for each in ids), type="update")
    arrived = garbled(data.draw, [{"ok": each} for each in ids])

    verdicts = in_order(arrived, call, fate, matches=lambda entry, item: entry["ok"] == item.record["id"])

    assert len(verdicts) == len(ids)
    known = [verdict for verdict in verdicts if not isinstance(verdict, Unknown)]
    assert known in ([], [Written(each) for each in ids])
    if len(arrived) != len(ids):
        assert all(isinstance(each, Unknown) for each in in_order(arrived, call, fate))


@settings(max_examples=examples(150), deadline=None)
@given(JSON, JSON, st.integers(1, 4), st.none() | st.integers(0, 4))
def test_garbage_hurts_nobody(entries: Any, others: Any, count: int, failed: int | None) -> None:
    """Whatever JSON stands where entries belong: one verdict per record, and no exception."""
    call = call_of(*range(count))
    for verdicts in (
        in_order(entries, call, fate),
        by_key(entries, call, fate),
        by_lists(call, (entries, fate), (others, fate)),
        all_but(entries, call, fate, failed=failed),
        unprocessed(entries, call, failed=failed),
    ):
        assert len(verdicts) == count
        assert all(isinstance(each, (Written, Rejected, Retry, Unknown)) for each in verdicts)
