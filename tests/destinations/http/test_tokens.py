"""Access tokens: one for all, fetched once at a time, replaced ahead of its expiry. In virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any
from urllib.parse import parse_qsl

import anyio
import httpx
import pytest

from batcher.destinations._http.arguments import Secret
from batcher.destinations._http.sender import Sender
from batcher.destinations._http.tokens import NO_ACCESS_TOKEN, Token, TokenSource, answer_of_issuer, without_token
from batcher.errors import BatcherNotOpen
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Retry
from batcher.testing import virtual_time
from tests.api import gather

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param, virtual_time(request.param)


class Issuer:
    """Gives numbered tokens, or raises what it is told to; each question takes a while."""

    def __init__(self, *script: Any, lifetime: float = 1800.0, seconds: float = 1.0) -> None:
        self.script = list(script)
        self.lifetime = lifetime
        self.seconds = seconds
        self.asked_at: list[float] = []

    async def fetch(self) -> Token:
        self.asked_at.append(anyio.current_time())
        number = len(self.asked_at)
        await anyio.sleep(self.seconds)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return Token(Secret("token", f"t{number}"), "https://x", anyio.current_time() + self.lifetime)

    def source(self, **options: Any) -> TokenSource:
        return TokenSource(self.fetch, **options)


async def shown(source: TokenSource) -> str:
    return (await source.token()).secret.reveal()


async def test_many_callers_cost_one_question() -> None:
    """All who come while the token is fetched get it, and so do all who come after."""
    issuer = Issuer()
    source = issuer.source()
    tokens = await gather(*[partial(shown, source)] * 100)

    assert tokens == ["t1"] * 100
    assert await shown(source) == "t1"
    assert len(issuer.asked_at) == 1


@pytest.mark.parametrize(
    ("lifetime", "margin", "until"),
    [(1800.0, 60.0, 1740.0), (100.0, 60.0, 50.0), (120.0, 60.0, 60.0), (10.0, 0.0, 10.0)],
)
async def test_a_token_is_replaced_ahead_of_its_expiry(lifetime: float, margin: float, until: float) -> None:
    """By the margin, or by half of its life if that is short; at that very moment it is old, before it is not."""
    issuer = Issuer(lifetime=lifetime, seconds=0.0)
    source = issuer.source(margin=margin)
    assert await shown(source) == "t1"
    await anyio.sleep(until - 0.5)
    assert await shown(source) == "t1"
    await anyio.sleep(0.5)
    assert await shown(source) == "t2"


async def test_a_token_without_an_end_stays() -> None:
    """Nothing asks for another one, however late it is."""
    issuer = Issuer(lifetime=inf)
    source = issuer.source()
    await source.token()
    await anyio.sleep(1e9)

    assert await shown(source) == "t1"


async def test_a_token_that_is_old_on_arrival_is_given_all_the_same() -> None:
    """A clock that is off costs a question each time, and hangs nobody."""
    source = Issuer(lifetime=-5.0).source()

    assert await gather(partial(shown, source), partial(shown, source)) == ["t1", "t1"]
    assert await shown(source) == "t2"


async def test_a_refused_token_is_fetched_anew_once() -> None:
    """Of many calls that the service refused with the same token, one asks; the new token stays."""
    issuer = Issuer()
    source = issuer.source()
    old = await source.token()

    async def refused() -> str:
        source.invalidate(old)
        return await shown(source)

    assert await gather(*[refused] * 10) == ["t2"] * 10
    source.invalidate(old)
    assert await shown(source) == "t2"
    assert len(issuer.asked_at) == 2


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Retry("HTTP 503", 7.0, pause_lane=True), "HTTP 503"),
        (Retry("the request left and its answer was lost", 7.0, True, applied="maybe"), "the request left"),
        (ZeroDivisionError("secret words"), "ZeroDivisionError"),
    ],
)
async def test_p07_without_a_token_nothing_was_applied(failure: Exception, words: str) -> None:
    """However the question failed, the write that waited for the token is known not to be written."""
    (retry,) = await gather(Issuer(failure).source().token)

    assert isinstance(retry, Retry)
    assert retry.applied == "no"
    assert str(retry).startswith(words)
    assert retry.__cause__ is None
    assert retry.__context__ is None
    if isinstance(failure, Retry):
        assert (retry.after, retry.pause_lane) == (7.0, True)


async def test_a_failed_refresh_fails_those_who_waited_and_nobody_else() -> None:
    """Each gets an error of its own; the next caller asks again."""
    issuer = Issuer(Refused("BAD_REFRESH_TOKEN"))
    source = issuer.source()
    failures = await gather(*[source.token] * 3)

    assert [type(each) for each in failures] == [Refused] * 3
    assert len(set(map(id, failures))) == 3
    assert failures[0].errors[0].message == "BAD_REFRESH_TOKEN"
    assert await shown(source) == "t2"


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([ErrorDetail("app s3cret", "invalid_grant")], "the issuer refused (invalid_grant)"),
        ([ErrorDetail("s3cret", "a"), ErrorDetail("s3cret", "a")], "the issuer refused (a)"),
        ([ErrorDetail("s3cret")], "the issuer refused (no code given)"),
        ([ErrorDetail("the answer has none", NO_ACCESS_TOKEN)], "the answer has none"),
    ],
)
def test_a_token_that_will_not_come_is_no_records_fault(errors: Any, words: str) -> None:
    """The issuer's codes and the way out are told; its messages, which may quote what was sent, are not."""
    assert without_token(Refused(errors), "ask") == NotWritten(f"no access token: {words}: ask", attempts=1)


async def test_a_misuse_is_told_as_it_is() -> None:
    """A destination that is not open is nothing to try again."""
    misuse = BatcherNotOpen("not open")

    assert await gather(Issuer(misuse).source().token) == [misuse]


async def test_p08_cancelling_the_one_that_fetches_hurts_nobody_else() -> None:
    """One of those who wait fetches in its place, and the others wait for that one."""
    issuer = Issuer(seconds=10.0)
    source = issuer.source()
    tokens: list[str] = []

    async def wants() -> None:
        tokens.append(await shown(source))

    start = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(4.0) as first:
            async with anyio.create_task_group() as inner:
                inner.start_soon(wants)
                await anyio.wait_all_tasks_blocked()
                for _ in range(3):
                    tasks.start_soon(wants)

    assert first.cancelled_caught
    assert tokens == ["t2"] * 3
    assert [at - start for at in issuer.asked_at] == [0.0, 4.0]


async def test_p08_cancelling_one_that_waits_does_not_end_the_refresh() -> None:
    """The one that fetches goes on, and so does everybody else who waits."""
    issuer = Issuer(seconds=10.0)
    source = issuer.source()

    async def impatient() -> str:
        await anyio.sleep(1.0)  # trio starts tasks in any order, and this one is not to be the one that fetches
        with anyio.move_on_after(1.0):
            await source.token()
        return "gone"

    calls: list[Callable[[], Awaitable[str]]] = [partial(shown, source), impatient, partial(shown, source)]
    assert await gather(*calls) == ["t1", "gone", "t1"]
    assert len(issuer.asked_at) == 1


async def test_an_issuer_gets_a_form_with_its_values_encoded() -> None:
    """What is reserved in a form stays a part of the value that it is in."""
    requests: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200)

    form = {"client_id": "my app", "client_secret": "s&1=+%", "assertion": "é"}
    async with httpx.AsyncClient(transport=httpx.MockTransport(note)) as client:
        asking = Sender(client, timeout=1, max_answer_bytes=1, secrets={})
        await asking.open()
        assert (await answer_of_issuer(asking, "https://x/token", form)).status == 200

    (request,) = requests
    assert (request.method, str(request.url)) == ("POST", "https://x/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(request.content.decode(), strict_parsing=True)) == form


async def test_p13_a_token_shows_nowhere() -> None:
    """Only what sends it can read it."""
    token = Token(Secret("token", "hidden"), "https://x")

    assert "hidden" not in repr(token) + repr(vars(Issuer().source())) + repr(token.secret.bearer())
    assert token.secret.bearer().reveal() == "Bearer hidden"
