"""What holds for every destination whose service wants access tokens: when they are asked for, shown and replaced."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qs

import pytest

from batcher import NotWritten, RecordNotWritten, Unknown, Written
from tests.api import gather
from tests.destinations.kinds import AUTHORIZED
from tests.destinations.service import Kind, Service

pytestmark = pytest.mark.anyio


@pytest.fixture(params=list(AUTHORIZED))
def kind(request: pytest.FixtureRequest) -> Kind:
    return AUTHORIZED[request.param]


def app_of(service: Service) -> dict[str, Any]:
    return dict(service.kind.app or {})


async def test_one_token_is_asked_for_and_shown(service: Service) -> None:
    """By all calls, however many begin at once. The issuer gets a form, and no token."""
    async with service.writer(**app_of(service)) as crm:
        await gather(*[partial(crm.submit, service.kind.create(n, object=f"o{n}")) for n in range(20)])

    (login,) = service.logins
    assert str(login.url) == service.kind.issuer
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in login.headers
    form = parse_qs(login.content.decode(), strict_parsing=True)
    assert form["client_secret"] == [app_of(service)["client_secret"]]
    assert set(service.shown) == {"Bearer t1"}
    assert len(service.calls) == 20
    assert service.kind.app_url.replace("things", "o7") in [str(request.url) for request in service.requests]


@pytest.mark.parametrize("which", [0, -1])
async def test_an_expired_token_is_replaced_once_and_the_call_sent_again(service: Service, which: int) -> None:
    """No record notices; the next call shows the new token."""
    service.says(*service.kind.expired[which])
    async with service.writer(**app_of(service)) as crm:
        first = await crm.submit(service.kind.create(1))
        await crm.submit(service.kind.create(2))

    assert isinstance(first, Written)
    assert first.record_id == service.kind.record_id(1)
    assert service.shown == ["Bearer t1", "Bearer t2", "Bearer t2"]
    assert service.numbers == [[1], [1], [2]]
    assert len(service.logins) == 2


@pytest.mark.parametrize("group", [False, True])
async def test_a_token_that_is_refused_again_is_the_end_of_it(service: Service, group: bool) -> None:
    """One new token, one more call, and then it is told, and is the fault of no record; the next call asks anew."""
    for _ in range(2):
        service.says(*service.kind.expired[0])
    async with service.writer(**app_of(service)) as crm:
        outcomes = await crm.submit_all([service.kind.create(1), service.kind.create(2)], all_or_none=group)
        assert [type(each) for each in outcomes] == [NotWritten] * 2
        assert "HTTP 401: the service does not accept the access token: " in repr(outcomes[0])
        assert service.shown == ["Bearer t1", "Bearer t2"]
        assert (await crm.submit(service.kind.create(1))).ok


async def test_a_token_that_was_given_is_not_asked_for(service: Service) -> None:
    """There is no other one, so the call is not sent again."""
    service.says(*service.kind.expired[0])
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten, match="HTTP 401: the service does not accept the access token"):
            await crm.submit(service.kind.create(1))
        assert (await crm.submit(service.kind.create(1))).ok

    assert service.shown == [service.kind.headers["authorization"]] * 2
    assert service.logins == []


@pytest.mark.parametrize("expires", [False, True])
async def test_p07_without_a_token_nothing_was_written(service: Service, expires: bool) -> None:
    """No token now or ever, and no record is written, nor a group, at one question; it is not their fault."""
    if expires:
        service.says(*service.kind.expired[0])
        service.tokens.append((200, service.kind.token("t0")))
    service.tokens += [(503, {}), (400, service.kind.revoked), (400, service.kind.revoked)]
    writes = [service.kind.create(n) for n in range(3)]
    async with service.writer(**app_of(service)) as crm:
        (first,) = await crm.submit_all(writes[:1])
        refused = await crm.submit_all(writes)
        group = await crm.submit_all(writes, all_or_none=True)
        assert len(service.logins) == 3 + expires
        assert len(service.calls) == expires
        again = await crm.submit_all(writes)

    assert isinstance(first, NotWritten) and "HTTP 503" in str(first.cause)
    assert refused + group == [NotWritten(f"no access token: the issuer refused {service.kind.refused}", 1)] * 6
    assert all(each.ok for each in again)


async def test_without_a_token_nothing_is_learned_of_a_lost_answer(service: Service) -> None:
    """What may have been written stays unknown."""
    service.tokens.append((400, service.kind.revoked))
    async with service.destination(**app_of(service), **service.kind.unique) as db:
        prepared = db.encode(service.kind.create(1))
        (outcome,) = await db.verify(prepared.lane, [prepared.item])

    assert isinstance(outcome, Unknown)
    assert "no access token" in str(outcome.cause)
    assert service.questions == []
