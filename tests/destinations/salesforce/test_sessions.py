"""Salesforce: access tokens on the way, with both clients, on both loops."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import httpx
import httpx2
import pytest

from batcher import NotWritten, RecordNotWritten, Written
from tests.api import gather
from tests.destinations.salesforce.helpers import ORG, TOKEN, create, sf_id
from tests.destinations.salesforce.org import APP, EXPIRED, NA1, Org

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
async def org(request: pytest.FixtureRequest) -> AsyncIterator[Org]:
    org = Org(request.param)
    async with org.client:
        yield org


async def test_one_token_is_asked_for_and_shown_at_its_instance(org: Org) -> None:
    """
    By all calls, however many begin at once; the calls go to the instance that came with it.
    """
    async with org.writer(**APP) as crm:
        await gather(*[partial(crm.create, f"o{n}", {"LastName": "1"}) for n in range(20)])

    (question,) = org.questions
    assert str(question.url) == f"{ORG}/services/oauth2/token"
    assert question.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(question.content.decode())["client_secret"] == ["s3cret"]
    assert set(org.shown) == {"Bearer t1"}
    assert {request.url.host for request in org.requests} == {"na1.my.salesforce.com"}


@pytest.mark.parametrize("status", [401, 403])
async def test_an_expired_token_is_replaced_once_and_the_call_sent_again(org: Org, status: int) -> None:
    """
    No record notices; the next call shows the new token.
    """
    org.says(status, EXPIRED[1])
    async with org.writer(**APP) as crm:
        first = await crm.create("Contact", {"LastName": "1"})
        await crm.create("Contact", {"LastName": "2"})

    assert first == Written(sf_id(1))
    assert org.shown == ["Bearer t1", "Bearer t2", "Bearer t2"]
    assert len(org.questions) == 2


async def test_a_token_that_is_refused_again_is_the_end_of_it(org: Org) -> None:
    """
    One new token, one more call, and then it is told; the next call asks anew.
    """
    org.says(*EXPIRED)
    org.says(*EXPIRED)
    async with org.writer(**APP) as crm:
        outcomes = await crm.submit_all([create({"LastName": "1"}), create({"LastName": "2"})])
        assert [type(each) for each in outcomes] == [NotWritten] * 2
        assert len(org.requests) == len(org.questions) == 2
        await crm.create("Contact", {"LastName": "1"})


async def test_a_token_that_was_given_is_not_asked_for(org: Org) -> None:
    """
    There is no other one, so the call is not sent again.
    """
    org.says(*EXPIRED)
    async with org.writer() as crm:
        with pytest.raises(RecordNotWritten, match="HTTP 401: the service does not accept the access token"):
            await crm.create("Contact", {"LastName": "1"})
        assert await crm.create("Contact", {"LastName": "1"}) == Written(sf_id(1))

    assert org.shown == [f"Bearer {TOKEN}"] * 2
    assert org.questions == []


@pytest.mark.parametrize("before", [[], [EXPIRED]])
async def test_p07_without_a_token_nothing_was_written(org: Org, before: Any) -> None:
    """
    No token now or ever, and no record is written, nor a group, at one question.
    """
    for status, reply in before:
        org.says(status, reply)
        org.tokens.append((200, {"access_token": "t0", "instance_url": NA1}))
    org.tokens += [(503, {}), (400, {"error": "invalid_grant", "error_description": "no"})]
    async with org.writer(**APP) as crm:
        (first,) = await crm.submit_all([create()])
        refused = await crm.submit_all([create(), create(), create()])
        org.tokens.append((400, {"error": "invalid_grant"}))
        group = await crm.submit_all([create(), create()], all_or_none=True)

    assert first == NotWritten("no access token: HTTP 503", 1)
    words = "no access token: the issuer refused (invalid_grant): check the app and its rights in Salesforce, "
    assert refused + group == [NotWritten(f"{words}and the credentials given here", 1)] * 5
    assert len(org.questions) == 3 + len(before)
    assert len(org.requests) == len(before)
