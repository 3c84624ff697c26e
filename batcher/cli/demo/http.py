"""The demo over a socket: a server with the database behind it, and the destination that reaches it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from batcher.cli._listening import Listener, listening
from batcher.destinations import Ampersand, Destination
from batcher.policies import AutoBatchPolicy
from batcher.server import write_api


@asynccontextmanager
async def behind_http(database: Destination) -> AsyncIterator[Destination]:
    """Serve *database* on a port of this machine that is free; yields what writes to it through the Write API."""
    key = secrets.token_urlsafe()
    # Requests are counted and compared, so the server has no record wait for others.
    app = write_api(database, api_keys=[key], auto_batch=AutoBatchPolicy(max_delay=0))
    listener = Listener.bind("127.0.0.1", 0)
    async with (
        listening(app, listener, shutdown_timeout=5),
        # A proxy that the environment names does not lead back to this machine.
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        yield Ampersand(
            "demo",
            "crm",
            api_key=key,
            group_ref="demo",
            provider="salesforce",  # this server, too, keeps results complete and in order
            client=client,
            base_url=listener.address,
            platform_url=listener.address,
        )
