"""HubSpot's access tokens: the request, every answer, and when they are fetched. In virtual time."""

import time
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import pytest

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.arguments import Secret
from batcher.destinations.hubspot import HubSpot
from batcher.destinations.hubspot.tokens import Grant, token_of
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Retry, Written
from batcher.testing import virtual_time
from tests.api import gather
from tests.destinations.hubspot.helpers import FAR, GRANT, NOW, answer, create, done, good, hubspot, update

HERE = 100.0

pytestmark = pytest.mark.anyio

REVOKED = {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param, virtual_time(request.param)


def grant() -> Grant:
    return Grant("my app", Secret("client_secret", "s&1"), Secret("refresh_token", "r=1"))


def test_the_request_for_a_token() -> None:
    """A form as in RFC 6749."""
    assert grant().form() == {
        "grant_type": "refresh_token",
        "client_id": "my app",
        "client_secret": "s&1",
        "refresh_token": "r=1",
    }


@pytest.mark.parametrize(
    ("body", "expires_at"),
    [
        ({"access_token": "t", "expires_in": 1800}, HERE + 1800),
        ({"access_token": "t", "expires_in": 0.5}, HERE + 0.5),
        ({"access_token": "t"}, HERE + 1800),
        ({"access_token": "t", "expires_in": "soon"}, HERE + 1800),
        ({"access_token": "t", "expires_in": True}, HERE + 1800),
    ],
)
def test_a_token_and_its_end(body: Any, expires_at: float) -> None:
    """It ends when the issuer says, or else after the half hour that is documented."""
    token = token_of(answer(200, body), "https://x", now=NOW, here=HERE)

    assert (token.secret.reveal(), token.base_url, token.expires_at) == ("t", "https://x", expires_at)


@pytest.mark.parametrize(
    ("status", "body", "headers", "after"),
    [
        (200, {}, {}, None),
        (200, b"<html>", {}, None),
        (200, {"access_token": 7}, {}, None),
        (200, {"access_token": "two words"}, {}, None),
        (429, {"policyName": "SECONDLY"}, {}, 1.0),
        (429, b"", {"retry_after": "30"}, 30.0),
        (500, b"", {}, None),
        (503, b"", {"retry_after": "5"}, 5.0),
    ],
)
def test_no_token_now(status: int, body: Any, headers: Any, after: Any) -> None:
    """What may pass is to be tried again, in the time that the issuer asks for."""
    with pytest.raises(Retry) as caught:
        token_of(answer(status, body, **headers), "https://x", now=NOW, here=HERE)

    assert caught.value.after == after


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (400, REVOKED, ErrorDetail("missing or invalid refresh token", "BAD_REFRESH_TOKEN")),
        (401, b"", ErrorDetail("HubSpot gave no reason", "HTTP_401")),
        (404, {"message": "m"}, ErrorDetail("m", "HTTP_404")),
        (307, b"", ErrorDetail("HubSpot gave no reason", "HTTP_307")),
        (429, {"policyName": "DAILY", "message": "m"}, ErrorDetail("m", "HTTP_429")),
    ],
)
def test_no_token_to_be_had(status: int, body: Any, detail: ErrorDetail) -> None:
    """A grant that was revoked is not tried again."""
    with pytest.raises(Refused) as caught:
        token_of(answer(status, body), "https://x", now=NOW, here=HERE)

    assert caught.value.errors == (detail,)


@pytest.mark.parametrize(
    ("body", "shown"),
    [({"refresh_token": "new"}, "new"), ({"refresh_token": "a b"}, "r=1"), ({"refresh_token": 7}, "r=1"), ({}, "r=1")],
)
def test_a_refresh_token_may_be_replaced(body: Any, shown: str) -> None:
    """The new one is shown the next time; without a usable one the old one stays."""
    renewed = grant().renewed(answer(200, body))

    assert renewed.refresh_token.reveal() == shown
    assert renewed.client_secret.reveal() == "s&1"


class Service:
    """Issues numbered tokens for 1,800 s, and takes the newest one only."""

    def __init__(self) -> None:
        self.tokens: list[Any] = []
        """Bodies or statuses in place of a token, then tokens."""
        self.issued = 0
        self.forms: list[dict[str, list[str]]] = []
        self.writes: list[str] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.5)
        if request.url.path.endswith("/oauth/v3/token"):
            assert request.headers["content-type"] == "application/x-www-form-urlencoded"
            assert "authorization" not in request.headers
            self.forms.append(parse_qs(request.content.decode()))
            if self.tokens:
                status, body = self.tokens.pop(0)
                return httpx.Response(status, json=body)
            self.issued += 1
            return httpx.Response(200, json={"access_token": f"t{self.issued}", "expires_in": 1800})
        shown = request.headers["authorization"]
        self.writes.append(shown)
        if shown != f"Bearer t{self.issued}":
            return httpx.Response(401, json={"category": "EXPIRED_AUTHENTICATION", "message": "m"})
        return httpx.Response(201, json=done([good("1")]))

    def destination(self) -> HubSpot:
        return hubspot(**GRANT, client=self.client)


async def sent(db: HubSpot) -> Any:
    """The verdict of one create, or what was raised."""
    prepared = db.encode(create())
    (result,) = await gather(lambda: db.send(prepared.lane, [prepared.item], all_or_none=False))
    return result[0] if isinstance(result, list) else result


async def test_a_token_is_fetched_once_and_ahead_of_its_end() -> None:
    """
    Ten calls at once cost one request for a token; after 29 minutes there is a new one, before any call is refused.
    """
    service = Service()
    async with service.destination() as db:
        results = await gather(*[lambda: sent(db)] * 10)
        await anyio.sleep(1739)
        results.append(await sent(db))
        await anyio.sleep(1)
        results.append(await sent(db))

    assert results == [Written("1", good("1"))] * 12
    assert service.writes == ["Bearer t1"] * 11 + ["Bearer t2"]
    assert len(service.forms) == 2
    assert service.forms[0] == {"grant_type": ["refresh_token"], **{name: [value] for name, value in GRANT.items()}}


@pytest.mark.parametrize("day", [86_400.0, -86_400.0])
async def test_a_wall_clock_that_is_set_ends_no_token_and_prolongs_none(
    monkeypatch: pytest.MonkeyPatch, day: float
) -> None:
    """A day ahead or back while a token is held, whatever clock the destination was given: it is replaced in time."""
    service = Service()
    async with hubspot(**GRANT, client=service.client, clock=lambda: time.time()) as db:
        await sent(db)
        stepped = time.time() + day
        monkeypatch.setattr(time, "time", lambda: stepped)
        await anyio.sleep(1739)
        await sent(db)
        await anyio.sleep(1)
        await sent(db)

    assert service.writes == ["Bearer t1"] * 2 + ["Bearer t2"]


async def test_a_token_that_is_refused_is_replaced_once() -> None:
    """Ten calls that met a token withdrawn early cost one new token, and each of them is sent again."""
    service = Service()
    async with service.destination() as db:
        await sent(db)
        service.issued += 1  # to somebody else
        results = await gather(*[lambda: sent(db)] * 10)

    assert results == [Written("1", good("1"))] * 10
    assert service.writes == ["Bearer t1"] * 11 + ["Bearer t3"] * 10


async def test_a_new_refresh_token_is_shown_the_next_time() -> None:
    """Whatever was refused before."""
    service = Service()
    service.tokens = [(400, REVOKED), (200, {"access_token": "t9", "refresh_token": "r2"})]
    async with service.destination() as db:
        assert isinstance(await sent(db), NotWritten)
        assert await sent(db) == Written("1", good("1"))

    assert service.writes == ["Bearer t9", "Bearer t1"]
    assert service.forms[-1]["refresh_token"] == ["r2"]


async def test_a_token_that_cannot_be_fetched_for_associations_is_a_warning() -> None:
    """The record has been written by then."""
    service = Service()
    async with service.destination() as db:
        await sent(db)
        prepared = db.encode(update("1", associations=[FAR]))
        await anyio.sleep(1739)  # the token is good for the update, and old a moment later
        service.tokens = [(400, REVOKED)]
        (verdict,) = await db.send(prepared.lane, [prepared.item], all_or_none=False)

    assert isinstance(verdict, Written)
    assert "refused as a whole (BAD_REFRESH_TOKEN)" in verdict.warnings[0]


async def test_an_answer_of_the_issuer_that_breaks_off() -> None:
    """Half a token is none."""
    with pytest.raises(Retry, match="without an access token"):
        token_of(Answer(200, flaw="the answer broke off"), "https://x", now=NOW, here=HERE)
