"""The server in a process of its own, which can be killed: ``python -m tests.server.chaos_server PORT FILE [echo]``.

It prints a line when it listens. With ``echo`` it returns the fields of what it wrote, as HubSpot does.
"""

import asyncio
import json
import sys
from collections.abc import Hashable, Sequence
from typing import Any

import attrs
import uvicorn

from batcher import AutoBatchPolicy
from batcher.destinations import SQLite
from batcher.destinations.sqlite import Table
from batcher.outcomes import Verdict, Written
from batcher.server import write_api

KEY = "a-key"
# Not unique: a record that was written twice must show. Records without a name are refused.
OBJECTS = {"things": Table(required=["name"])}


class Echoing(SQLite):
    """Returns the fields of what was written."""

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        verdicts = await super().send(lane, items, all_or_none=all_or_none)
        return [
            attrs.evolve(each, data=json.loads(item)) if isinstance(each, Written) else each
            for each, item in zip(verdicts, items, strict=True)
        ]


class Telling(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print("listening", flush=True)


def main(port: str, path: str, echo: str = "") -> None:
    kind = Echoing if echo else SQLite
    # A call takes a while, so that a kill can meet one.
    app = write_api(
        kind(path, objects=OBJECTS, delay=0.005),
        api_keys=[KEY],
        deletion_enabled=["things"],
        auto_batch=AutoBatchPolicy(max_delay=0.01),
    )
    config = uvicorn.Config(app, host="127.0.0.1", port=int(port), log_level="error", ws="none", loop="asyncio")
    asyncio.run(Telling(config).serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
