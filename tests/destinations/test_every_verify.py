"""What holds for every destination that can be asked what became of a record whose answer was lost."""

from __future__ import annotations

import pytest

from batcher import RecordUnknown, RetryPolicy
from tests.destinations.kinds import VERIFIABLE
from tests.destinations.service import Kind, Service

pytestmark = pytest.mark.anyio

VERIFY = RetryPolicy(on_unknown="verify", backoff_base=0, max_attempts=2)


@pytest.fixture(params=list(VERIFIABLE))
def kind(request: pytest.FixtureRequest) -> Kind:
    return VERIFIABLE[request.param]


async def test_p07_what_is_there_is_not_sent_again(service: Service) -> None:
    """Of two creates one was applied before the answer got lost: it gets its id, and the other one is sent again."""
    service.there = {2}
    service.breaks("ReadError")
    async with service.writer(VERIFY, **service.kind.unique) as crm:
        outcomes = await crm.submit_all([service.kind.create(1), service.kind.create(2)])

    assert [getattr(each, "record_id", None) for each in outcomes] == list(map(service.kind.record_id, (1, 2)))
    assert service.numbers == [[1, 2], [1]]
    assert len(service.questions) == 1


async def test_p07_a_question_that_is_lost_is_asked_again(service: Service) -> None:
    """It changed nothing."""
    service.there = {1}
    service.answers = [service.module.ReadError("x"), (500, b""), (200, b"<html>")]
    service.breaks("ReadError")
    retry = RetryPolicy(on_unknown="verify", backoff_base=0, max_attempts=5)
    async with service.writer(retry, **service.kind.unique) as crm:
        written = await crm.submit(service.kind.create(1))

    assert written.record_id == service.kind.record_id(1)
    assert (len(service.calls), len(service.questions)) == (1, 4)


async def test_p07_a_question_that_is_refused_leaves_it_unknown(service: Service) -> None:
    """And it is not sent again."""
    service.answers = [(400, {})]
    service.breaks("ReadError")
    async with service.writer(VERIFY, **service.kind.unique) as crm:
        with pytest.raises(RecordUnknown):
            await crm.submit(service.kind.create(1))

    assert (len(service.calls), len(service.questions)) == (1, 1)


async def test_a_question_that_fits_no_call_is_not_asked(service: Service) -> None:
    """Nor one about a record without a unique value. Both stay unknown."""
    unique = {"unique": {"things": "other"}}
    for options in ({**service.kind.unique, "max_request_bytes": 40}, unique):
        async with service.destination(**options) as db:
            prepared = db.encode(service.kind.create(1))
            (outcome,) = await db.verify(prepared.lane, [prepared.item])
        assert outcome.kind == "unknown"
        assert "or they do not fit a call" in str(outcome.cause)
    assert service.questions == []
