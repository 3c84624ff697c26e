"""What people would use instead, each used as its own documentation says, with the same limits as the others.

A contestant opens with a batch function and gives an async function that submits one item. Contestants that are not
installed are named in the report; nothing here needs them.

Looked at and left out, because others here beat them at the same: the loader of strawberry-graphql, 1.4 times the time
of aiodataloader, and ``aiomisc.aggregate``, as slow as async-batcher.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module, metadata
from typing import Any, Final, TypeAlias

import sniffio

from batcher import Batcher, Limits
from benchmarks.floors import Floor, Write

Submit: TypeAlias = Callable[[Any], Awaitable[Any]]
Open: TypeAlias = Callable[[Write], AbstractAsyncContextManager[Submit]]

OURS: Final = "batcher"
FLOOR: Final = "floor"

# The defaults of the batcher, given to everybody.
MAX_RECORDS, MAX_DELAY, IN_FLIGHT = 100, 0.05, 4
# More than any scenario has pending, for those that wait at a ceiling or refuse what is above it.
_ROOM = 10_000_000
ROOMY = Limits(max_pending_records=_ROOM, max_lane_records=_ROOM)


@asynccontextmanager
async def ours(write: Write) -> AsyncIterator[Submit]:
    """The batcher with its defaults."""
    async with Batcher[Any, Any](write) as batcher:
        yield batcher.submit


@asynccontextmanager
async def floor(write: Write) -> AsyncIterator[Submit]:
    """The floor of the running backend."""
    if sniffio.current_async_library() == "asyncio":
        yield Floor(write, MAX_RECORDS, MAX_DELAY).submit
        return
    import trio

    from benchmarks.floor_trio import TrioFloor

    async with trio.open_nursery() as nursery:
        yield TrioFloor(write, nursery, MAX_RECORDS, MAX_DELAY).submit
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def aiodataloader(write: Write) -> AsyncIterator[Submit]:
    """GraphQL's loader: no delay, no limits; it sends what one turn of the loop has brought."""

    async def load(items: list[Any]) -> list[Any]:
        return await write(None, items)

    # Without the cache, which would answer a second write of an equal record from the first.
    submit: Submit = import_module("aiodataloader").DataLoader(load, max_batch_size=MAX_RECORDS, cache=False).load
    yield submit


@asynccontextmanager
async def async_batcher(write: Write) -> AsyncIterator[Submit]:
    """A queue, and a task that takes batches out of it."""
    base: type = import_module("async_batcher.batcher").AsyncBatcher

    async def process_batch(self: Any, batch: list[Any]) -> list[Any]:
        return await write(None, batch)

    made = type("Made", (base,), {"process_batch": process_batch})
    batcher = made(max_batch_size=MAX_RECORDS, max_queue_time=MAX_DELAY, concurrency=IN_FLIGHT)
    yield batcher.process
    await batcher.stop(force=True)


@asynccontextmanager
async def batchlet(write: Write) -> AsyncIterator[Submit]:
    """A batcher for models on a GPU."""
    module = import_module("batchlet")

    async def process(items: list[Any]) -> list[Any]:
        return await write(None, items)

    async with module.AsyncBatcher(
        process,
        policy=module.BatchPolicy(max_items=MAX_RECORDS),
        max_wait_ms=MAX_DELAY * 1000,
        max_pending_items=_ROOM,
        max_concurrent_batches=IN_FLIGHT,
    ) as batcher:
        yield batcher.submit


# By the name of the distribution. All of them run on asyncio only.
OTHERS: Mapping[str, Open] = {
    "aiodataloader": aiodataloader,
    "async-batcher": async_batcher,
    "batchlet": batchlet,
}


def version_of(distribution: str) -> str | None:
    """Return the installed version, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def others_here() -> tuple[dict[str, Open], list[str]]:
    """Return the contestants that are installed, and a note on each that is not."""
    here = {name: opened for name, opened in OTHERS.items() if version_of(name) is not None}
    return here, [f"{name} is not installed" for name in OTHERS if name not in here]
