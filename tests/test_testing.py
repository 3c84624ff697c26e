"""The kit for users' own tests: it must not lie, or their tests do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio
import attrs
import pytest

from batcher import (
    AutoBatchPolicy,
    InvalidRecord,
    RecordNotWritten,
    RecordRejected,
    RecordUnknown,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
    Write,
    Writer,
    WriteType,
    Written,
)
from batcher.outcomes import Verdict
from batcher.testing import ScriptedDestination, SentCall, check_conserved, lost, virtual_time
from tests.api import gather

pytestmark = pytest.mark.anyio
ADA, BOB = {"email": "ada@example.com"}, {"email": "bob@example.com"}


def create(record: dict[str, str]) -> Write:
    return Write("contacts", WriteType.CREATE, record)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_virtual_time_a_day_passes_at_once(backend):
    """And timers fire in their order."""
    order: list[float] = []

    async def sleeper(began: float, seconds: float) -> None:
        await anyio.sleep(seconds)
        order.append(anyio.current_time() - began)

    async def main() -> None:
        now = anyio.current_time()
        await gather(*(partial(sleeper, now, seconds) for seconds in (86_400, 0.5, 3600)))

    anyio.run(main, backend=backend, backend_options=virtual_time(backend))
    assert order == pytest.approx([0.5, 3600, 86_400])


def test_virtual_time_has_two_backends():
    """Another name is a mistake."""
    with pytest.raises(ValueError, match="backend must be 'asyncio' or 'trio', not 'curio'"):
        virtual_time("curio")  # type: ignore[arg-type]


@pytest.mark.parametrize("hangs", [lambda: anyio.Event().wait(), anyio.sleep_forever])
def test_a_loop_that_hangs_says_so(hangs, monkeypatch):
    """Rather than for ever: nobody is left who could wake it."""
    monkeypatch.setattr("batcher.testing._PATIENCE", 0.01)

    async def main() -> None:
        await hangs()

    with pytest.raises(RuntimeError, match="every task waits for something that cannot happen"):
        anyio.run(main, backend_options=virtual_time("asyncio"))


async def test_without_a_script_it_writes_like_a_small_service():
    """Ids are given, updates merge, upserts find, deletes delete, and what is not there is refused."""
    destination = ScriptedDestination(seconds=2)
    async with Writer(destination) as crm:
        ada = await crm.create("contacts", ADA)
        await crm.update("contacts", {"id": ada.record_id, "phone": "1"})
        assert await crm.upsert("contacts", {**ADA, "name": "Ada"}, by="email") == Written(ada.record_id)
        bob = await crm.upsert("contacts", BOB, by="email")
        assert destination.records == {"contacts": {"1": {**ADA, "phone": "1", "name": "Ada"}, "2": BOB}}
        await crm.delete("contacts", bob.record_id)
        with pytest.raises(RecordRejected):
            await crm.update("contacts", {"id": bob.record_id, "phone": "2"})
        with pytest.raises(InvalidRecord):
            await crm.create("contacts", {"email": object()})
        check_conserved(crm.statistics())
    assert [call.type.value for call in destination.calls] == [
        "create",
        "update",
        "upsert",
        "upsert",
        "delete",
        "update",
    ]
    gaps = [later.at - earlier.at for earlier, later in zip(destination.calls, destination.calls[1:], strict=False)]
    assert all(gap >= 2 for gap in gaps)


async def test_a_group_is_applied_whole_or_not_at_all():
    """As a real service does it."""
    destination = ScriptedDestination()
    async with Writer(destination) as crm:
        ada = await crm.create("contacts", ADA)
        updates = [Write("contacts", "update", {"id": key, "phone": "1"}) for key in (ada.record_id, "gone")]
        outcomes = await crm.submit_all(updates, all_or_none=True)
    assert [outcome.kind for outcome in outcomes] == ["rolled_back", "rejected"]
    assert destination.records["contacts"] == {"1": ADA}


async def test_the_script_is_done_step_by_step():
    """Verdicts, an exception, a function, and then as usual."""
    seen: list[SentCall] = []

    def look(destination: ScriptedDestination, call: SentCall) -> Sequence[Verdict]:
        seen.append(call)
        return destination.apply(call)

    destination = ScriptedDestination([Rejected("taken")], Retry("busy"), look, max_records=1)
    async with Writer(destination, auto_batch=AutoBatchPolicy(max_delay=0)) as crm:
        with pytest.raises(RecordRejected):
            await crm.create("contacts", ADA)
        assert (await crm.create("contacts", ADA)).record_id == "1"
    assert [call.records for call in seen] == [(ADA,)]
    assert [call.records for call in destination.calls] == [(ADA,)] * 3


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_leaves_the_caller_in_doubt(applied):
    """Whatever became of the record; and the check takes both."""
    destination = ScriptedDestination(lost(applied=applied))
    async with Writer(destination) as crm:
        with pytest.raises(RecordUnknown) as caught:
            await crm.create("contacts", ADA)
    assert destination.records.get("contacts", {}) == ({"1": ADA} if applied else {})
    destination.check([(create(ADA), caught.value.outcome)])


async def test_an_update_whose_answer_was_lost_is_sent_again():
    """As with most real destinations."""
    destination = ScriptedDestination()
    async with Writer(destination, retry=RetryPolicy(backoff_base=0)) as crm:
        ada = await crm.create("contacts", ADA)
        destination.script.append(lost(applied=True))
        await crm.update("contacts", {"id": ada.record_id, "phone": "1"})
    assert len(destination.calls) == 3


async def test_the_check_finds_what_is_lost_doubled_or_invented():
    """One told to be written that is not there; one told not to be that is; one that is there twice."""
    destination = ScriptedDestination()
    written, refused, unknown = Written("1"), Rejected("no"), Unknown("lost")
    with pytest.raises(AssertionError, match="is there 0 times, and was told to be written 1 times"):
        destination.check([(create(ADA), written)])
    destination.records["contacts"] = {"1": ADA}
    destination.check([(create(ADA), written)])
    destination.check([(create(ADA), unknown)])
    with pytest.raises(AssertionError, match="is there 1 times, and can have been written 0 times"):
        destination.check([(create(ADA), refused)])
    destination.records["contacts"]["2"] = dict(ADA)
    with pytest.raises(AssertionError, match="is there 2 times, and can have been written 1 times"):
        destination.check([(create(ADA), written)])
    destination.check([(create(ADA), written), (create(ADA), unknown)])


async def test_a_broken_balance_is_found():
    """Accepted is settled plus pending, and every settled record is in one outcome."""
    async with Writer(ScriptedDestination()) as crm:
        await crm.create("contacts", ADA)
        good = crm.statistics()
    check_conserved(good)
    with pytest.raises(AssertionError, match="records are lost"):
        check_conserved(attrs.evolve(good, accepted=2))
    with pytest.raises(AssertionError, match="outcomes are lost"):
        check_conserved(attrs.evolve(good, outcomes={}))


async def test_what_never_was_sent_is_not_there():
    """A record that expires is known not to be written, and the check holds its caller to it."""
    destination = ScriptedDestination(Retry("busy", after=60))
    async with Writer(destination) as crm:
        with pytest.raises(RecordNotWritten) as caught:
            await crm.create(
                "contacts",
                ADA,
            )
    destination.check([(create(ADA), caught.value.outcome)])


async def test_it_tells_what_became_of_a_lost_answer():
    """Written with its id, absent, or unknown where the unique value is that of other data; and notes the question."""
    crm = ScriptedDestination(lost(applied=True), seconds=2, unique={"contacts": "email"})
    records = [ADA, BOB, {"email": "eve@example.com"}, {"phone": "1"}]
    prepared = [crm.encode(create(record)) for record in records]
    lane, items = prepared[0].lane, [each.item for each in prepared]
    assert crm.rules(lane).verifiable and not crm.rules(crm.encode(Write("deals", "create", ADA)).lane).verifiable
    with pytest.raises(Retry):
        await crm.send(lane, items[:2], all_or_none=False)
    crm.records["contacts"]["2"] = {**BOB, "phone": "1"}
    before = anyio.current_time()
    outcomes = await crm.verify(lane, items)
    assert [outcome.kind for outcome in outcomes] == ["written", "unknown", "not_written", "unknown"]
    assert outcomes[0] == Written("1") and anyio.current_time() == before + 2
    assert [question.records for question in crm.questions] == [tuple(records)] and len(crm.calls) == 1


async def test_it_refuses_a_unique_value_that_is_taken():
    """Else an absent record that is sent again could be there twice."""
    crm = ScriptedDestination(unique={"contacts": "email"})
    async with Writer(crm) as writer:
        await writer.create("contacts", ADA)
        with pytest.raises(RecordRejected):
            await writer.create("contacts", ADA)
        await writer.create("deals", ADA)
        await writer.create("deals", ADA)
    assert [len(crm.records[kind]) for kind in ("contacts", "deals")] == [1, 2]


@pytest.mark.parametrize("applied", [True, False])
async def test_with_verify_a_lost_create_is_written_once(applied):
    """The application's test needs no network for it."""
    crm = ScriptedDestination(lost(applied=applied), unique={"contacts": "email"})
    async with Writer(crm, retry=RetryPolicy(on_unknown="verify")) as writer:
        written = await writer.create("contacts", ADA)
        check_conserved(writer.statistics())
    assert crm.records == {"contacts": {written.record_id: ADA}} and len(crm.calls) == 2 - applied
