"""A call that is too large, HTTP 413, is no record's fault: it goes again in smaller ones, and so do those after it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from batcher import Write, Writer
from batcher.destinations import Ampersand, Destination, HubSpot, Salesforce
from batcher.destinations.http_batch import HttpBatch, Request, in_order

pytestmark = pytest.mark.anyio

DESTINATIONS: dict[str, Callable[[httpx.AsyncClient], Destination]] = {
    "ampersand": lambda client: Ampersand("project", "integration", api_key="k", group_ref="g", client=client),
    "hubspot": lambda client: HubSpot(token="t", client=client),
    "salesforce": lambda client: Salesforce("https://my.example.com", access_token="t", client=client),
    "http": lambda client: HttpBatch(
        "https://api.example.com",
        request=lambda call: Request("POST", "/batch", json={"inputs": call.items}),
        read=lambda answer, call: in_order(answer.json, call, lambda entry: entry),
        client=client,
    ),
}


class Proxy:
    """Takes bodies up to a size, and lets none of them through."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sizes.append(len(request.content))
        return httpx.Response(413, text="<html>Request Entity Too Large</html>")


@pytest.mark.parametrize("name", DESTINATIONS)
async def test_a_call_that_is_too_large_is_made_smaller_and_that_is_remembered(name):
    """Halves until each record is alone, and then rejected; the next ones are not tried together again."""
    proxy = Proxy()
    writes = [Write("contacts", "create", {"email": f"{n}@example.com"}) for n in range(4)]
    client = httpx.AsyncClient(transport=httpx.MockTransport(proxy))
    async with client, Writer(DESTINATIONS[name](client)) as writer:
        first = await writer.submit_all(writes)
        calls = len(proxy.sizes)
        again = await writer.submit_all(writes)

    assert [outcome.kind for outcome in (*first, *again)] == ["rejected"] * 8
    assert calls == 7
    assert max(proxy.sizes[calls:]) < proxy.sizes[0] - 50
    assert len(proxy.sizes) == 11
