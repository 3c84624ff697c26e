"""HTTP clients that the batcher takes, and what people would write by hand with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from benchmarks.contestants import MAX_DELAY, MAX_RECORDS, Submit, version_of
from benchmarks.floors import LimitedFloor

# By the name of the distribution.
CLIENTS: Mapping[str, Callable[[], Any]] = {
    "httpx": lambda: import_module("httpx").AsyncClient(timeout=30),
    "httpx2": lambda: import_module("httpx2").AsyncClient(timeout=30),
    "httpx-aiohttp": lambda: import_module("httpx_aiohttp").HttpxAiohttpClient(timeout=30),
}

PATH = "/v1/projects/project/integrations/integration/objects/contact"
_ENVELOPE = {"groupRef": "group", "type": "create", "mode": "synchronous"}
_HEADERS = {"content-type": "application/json", "x-api-key": "key"}


def record(number: int) -> dict[str, Any]:
    """Return a small contact."""
    return {
        "FirstName": "Ada",
        "LastName": f"Lovelace {number}",
        "Email": f"ada.{number}@example.com",
        "Phone": "+44 20 7946 0000",
        "Visits": number,
    }


def clients_here() -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """Return the clients that are installed, and a note on each that is not."""
    here = {name: made for name, made in CLIENTS.items() if version_of(name) is not None}
    return here, [f"{name} is not installed" for name in CLIENTS if name not in here]


def encoder() -> Callable[[Any], bytes]:
    """Return the encoder that the batcher would take, too."""
    if version_of("orjson") is not None:
        dumps: Callable[[Any], bytes] = import_module("orjson").dumps
        return dumps
    return lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def by_hand(client: Any, url: str, in_flight: int) -> LimitedFloor:
    """Return the floor with a write that posts a batch and gives each record its result."""
    dumps = encoder()

    async def write(_: Any, records: list[Any]) -> list[Any]:
        body = dumps(_ENVELOPE | {"batch": [{"record": each} for each in records]})
        response = await client.post(url, content=body, headers=_HEADERS)
        response.raise_for_status()
        answer = json.loads(response.content)
        if answer["successCount"] != len(records):
            raise ValueError("some records failed")
        results: list[Any] = answer["results"]
        return results

    return LimitedFloor(write, MAX_RECORDS, MAX_DELAY, in_flight)


def one_call_each(client: Any, url: str, in_flight: int) -> Submit:
    """Return what posts each record alone. It, too, keeps a limit: without, the client's own pool takes longer."""
    dumps = encoder()
    slots = asyncio.Semaphore(in_flight)

    async def submit(number: int) -> Any:
        async with slots:
            response = await client.post(url, content=dumps(_ENVELOPE | {"record": record(number)}), headers=_HEADERS)
        response.raise_for_status()
        return json.loads(response.content)["result"]

    return submit
