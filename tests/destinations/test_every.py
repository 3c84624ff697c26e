"""What holds for every destination that speaks HTTP: through the writer, with both clients, on both loops."""

from __future__ import annotations

import json
import socket
from functools import partial
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from batcher import NotWritten, RecordNotWritten, RecordUnknown, Rejected, Writer
from batcher.errors import BatcherNotOpen
from tests.api import gather
from tests.destinations import loopback
from tests.destinations.kinds import KINDS
from tests.destinations.loopback import answers, response, served
from tests.destinations.service import ONCE, SECRET, Kind, Reply, Service, kinds_of, without

pytestmark = pytest.mark.anyio


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(params=[None, httpx, httpx2], ids=["own", "httpx", "httpx2"])
def client(request: pytest.FixtureRequest) -> Any:
    """One that is given, or None for the destination's own."""
    return request.param and request.param.AsyncClient()


async def test_p02_a_batch_travels_in_one_call_and_each_caller_gets_its_own_id(service: Service) -> None:
    """Half as many callers again as fit a call: two calls, as many ids, each of its own record."""
    kind, most = service.kind, service.kind.max_records
    async with service.writer() as crm:
        results = await gather(*[partial(crm.submit, kind.create(n)) for n in range(most * 3 // 2)])

    assert [each.record_id for each in results] == [kind.record_id(n) for n in range(most * 3 // 2)]
    assert sorted(map(len, service.numbers)) == [most // 2, most]
    request = service.requests[0]
    assert (request.method, str(request.url)) == ("POST", kind.url)
    assert kind.headers.items() <= dict(request.headers).items()


async def test_p04_a_refused_batch_costs_only_its_culprit(service: Service) -> None:
    """The whole call is refused without a word of the record: it is found by halving."""
    service.script = [without(30, service.kind)] * 100
    async with service.writer() as crm:
        outcomes = await crm.submit_all([service.kind.create(n) for n in range(100)])

    assert [index for index, each in enumerate(outcomes) if not each.ok] == [30]
    assert isinstance(outcomes[30], Rejected) and outcomes[30].errors[0].code == service.kind.code


async def test_a_call_that_is_too_large_is_made_smaller_and_that_is_remembered(service: Service) -> None:
    """Halves until each record is alone, and then rejected; the next ones are not tried together again."""
    service.script = [lambda _: (413, b"<html>Request Entity Too Large</html>")] * 20
    writes = [service.kind.create(n) for n in range(4)]
    async with service.writer() as crm:
        first = await crm.submit_all(writes)
        calls = len(service.calls)
        again = await crm.submit_all(writes)

    assert kinds_of([*first, *again]) == ["rejected"] * 8
    assert calls == 7
    assert [len(numbers) for numbers in service.numbers[calls:]] == [1] * 4


@pytest.mark.parametrize("reply", [(429, {}), (503, {}), (500, b"<html>")])
async def test_p07_throttled_is_not_written_and_broken_is_unknown(service: Service, reply: Reply) -> None:
    """After 429 nothing was applied; after 500 nobody can say."""
    service.says(*reply)
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten if reply[0] == 429 else RecordUnknown, match=f"HTTP {reply[0]}"):
            await crm.submit(service.kind.create(1))


@pytest.mark.parametrize(
    ("trouble", "applied"),
    [("ConnectError", "no"), ("ConnectTimeout", "no"), ("PoolTimeout", "no"), ("ReadError", "maybe"),
     ("ReadTimeout", "maybe"), ("WriteError", "maybe"), ("RemoteProtocolError", "maybe")],
)  # fmt: skip
async def test_p07_what_never_left_is_told_from_what_was_lost(service: Service, trouble: str, applied: str) -> None:
    """And neither is sent again on its own."""
    service.breaks(trouble)
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten if applied == "no" else RecordUnknown, match=trouble) as caught:
            await crm.submit(service.kind.create(1))

    assert caught.value.applied == applied
    assert len(service.calls) == 1


async def test_p13_no_secret_and_no_payload_is_in_errors(service: Service) -> None:
    """Credentials that are refused are told in words of our own."""
    service.says(401, {"message": f"the key {SECRET} is wrong", "detail": SECRET})
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten) as caught:
            await crm.submit(service.kind.create(1))

    assert SECRET not in str(caught.value) + repr(caught.value) + repr(caught.value.outcome) + repr(crm)
    assert f"HTTP 401: the service does not accept the {service.kind.credentials}" in str(caught.value)
    assert len(service.calls) == 1


@pytest.mark.parametrize("group", [False, True])
async def test_a_proxy_that_wants_credentials_is_no_records_fault(service: Service, group: bool) -> None:
    """Nor that of a group, if the destination has groups."""
    service.says(407, b"")
    options: dict[str, Any] = {"all_or_none": True} if service.kind is KINDS["http_batch"] else {}
    async with service.writer(**options) as crm:
        outcomes = await crm.submit_all([service.kind.create(n) for n in range(2)], all_or_none=group)

    words = "HTTP 407: a proxy does not accept the credentials of the client: check its proxy"
    assert outcomes == [NotWritten(words, attempts=1)] * 2


async def test_it_is_open_within_async_with_and_once(kind: Kind) -> None:
    """Before it, after it and in it again, it says so, and nothing is tried again; it can be opened anew."""
    db = kind.make()
    prepared = db.encode(kind.create(1))
    send = partial(db.send, prepared.lane, [prepared.item], all_or_none=False)
    for _ in range(2):
        with pytest.raises(BatcherNotOpen, match="is not open"):
            await send()
        async with db as opened:
            assert opened is db
            with pytest.raises(BatcherNotOpen, match="open already"):
                await db.__aenter__()
    with pytest.raises(BatcherNotOpen, match="is not open"):
        await send()


async def test_a_client_that_was_given_is_not_closed(service: Service) -> None:
    """It may be the client of others, too."""
    for _ in range(2):
        async with service.writer() as crm:
            assert (await crm.submit(service.kind.create(1))).ok
    assert not service.client.is_closed


async def test_a_client_that_was_made_is_closed(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the body raised."""
    made: list[Any] = []

    class Noted(httpx.AsyncClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr("httpx.AsyncClient", Noted)
    with pytest.raises(ZeroDivisionError):
        async with kind.make():
            assert not made[0].is_closed
            raise ZeroDivisionError
    assert [client.is_closed for client in made] == [True]


async def test_over_a_real_socket_each_trouble_has_its_outcome(kind: Kind, client: Any) -> None:
    """A server that writes, breaks, refuses, babbles and stops half-way: every caller is told."""
    call = kind.call(httpx.Request("POST", "http://x", content=await body_of(kind)))
    (status, written), (refused, refusal) = kind.written(call), kind.refusal(call)
    behaviours = [
        (answers(response(bytes_of(written), status)), "written"),
        (loopback.resets_before_reading, "unknown"),
        (loopback.resets_after_reading, "unknown"),
        (loopback.closes_after_reading, "unknown"),
        (answers(b"garbage\r\n\r\n"), "unknown"),
        (answers(response(bytes_of(written)[:9], status, 1000)), "unknown"),
        (loopback.never_ends, "unknown"),
        (answers(response(bytes_of(refusal), refused)), "rejected"),
        (answers(response(b"no", 400)), "rejected"),
        (answers(response(b"", 429)), "not_written"),
    ]
    outcomes: list[Any] = []
    async with served(*[behave for behave, _ in behaviours]) as url:
        destination = kind.make(client=client, max_answer_bytes=100_000, **{kind.server: url})
        async with Writer(destination, retry=ONCE) as crm:
            for number in range(len(behaviours)):
                outcomes += await crm.submit_all([kind.create(7, object=f"o{number}")])
        if client is not None:
            await client.aclose()

    assert kinds_of(outcomes) == [expected for _, expected in behaviours]
    assert outcomes[0].record_id == kind.record_id(7)


async def body_of(kind: Kind) -> bytes:
    """The body of a call with the record 7."""
    async with Service(kind, httpx) as service, service.writer() as crm:
        await crm.submit(kind.create(7))
    content: bytes = service.requests[0].content
    return content


def bytes_of(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize("behaviour", [loopback.says_nothing, loopback.stops_within_the_body])
async def test_silence_ends_and_leaves_unknown_what_became_of_the_record(kind: Kind, behaviour: Any) -> None:
    """By the timeout of the destination, far ahead of that of the call."""
    async with served(behaviour) as url:
        with anyio.fail_after(120):
            async with Writer(kind.make(timeout=3.0, **{kind.server: url}), retry=ONCE) as crm:
                with pytest.raises(RecordUnknown):
                    await crm.submit(kind.create(1))


async def test_nobody_listens_and_nothing_was_written(kind: Kind, client: Any) -> None:
    """The request never left."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with Writer(kind.make(client=client, **{kind.server: url}), retry=ONCE) as crm:
            with pytest.raises(RecordNotWritten, match="never left"):
                await crm.submit(kind.create(1))
    if client is not None:
        await client.aclose()
