"""The database and the callers' outcomes agree, record by record, whatever happens between client and server.

Left out is one fault only: a false answer in the right form, such as 400 for what was applied. Nobody can notice that.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Outcome, RecordError, RetryPolicy, Write, Writer, Written
from batcher.destinations import Ampersand
from tests.api import gather
from tests.server.chaos_proxy import chaos
from tests.server.chaos_server import KEY

pytestmark = pytest.mark.anyio

PATIENCE = 180.0
SEED = 20260823


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Sockets and processes: a real clock."""
    name: str = request.param
    return name


def client(url: str, provider: Any) -> Writer:
    destination = Ampersand(
        "p", "i", api_key=KEY, group_ref="g", provider=provider, base_url=url, timeout=0.5, max_records=25
    )
    return Writer(
        destination,
        auto_batch=AutoBatchPolicy(max_delay=0.02),
        retry=RetryPolicy(backoff_base=0.02, backoff_cap=0.2),
    )


def record(key: int) -> dict[str, Any]:
    """Every 40th is refused by the server; the values tell where a record came from."""
    return {"key": key, "name": "" if key % 40 == 7 else f"name {key}", "half": key / 2}


async def fate(writer: Writer, write: Write) -> Outcome:
    try:
        return await writer.submit(write)
    except RecordError as error:
        return error.outcome


def rows(path: Path, object: str = "things") -> dict[str, dict[str, Any]]:
    connection = sqlite3.connect(path)
    found = connection.execute(f"SELECT id, record FROM {object} ORDER BY id").fetchall()
    connection.close()
    return {str(key): json.loads(text) for key, text in found}


def assert_created(
    fates: dict[int, Outcome], held: dict[str, dict[str, Any]], ignoring: AbstractSet[str] = frozenset()
) -> None:
    """Every record that was written is there once, under the id that its caller was told; nothing else is."""
    counts = Counter(row["key"] for row in held.values())
    assert max(counts.values()) == 1, "written twice"
    for key, outcome in fates.items():
        if outcome.applied == "yes":
            assert counts[key] == 1, (key, outcome)
        elif outcome.applied == "no":
            assert counts[key] == 0, (key, outcome)
        if isinstance(outcome, Written) and outcome.record_id is not None:
            differing = held[outcome.record_id].items() ^ record(key).items()
            assert {name for name, _ in differing} <= ignoring, "the id of somebody else"
    assert counts.keys() <= fates.keys()


def ids_of(fates: dict[int, Outcome]) -> dict[int, str]:
    return {key: each.record_id for key, each in fates.items() if isinstance(each, Written) and each.record_id}


async def creates(writer: Writer, keys: range) -> dict[int, Outcome]:
    writes = [Write("things", "create", record(key)) for key in keys]
    return dict(zip(keys, await gather(*(partial(fate, writer, each) for each in writes)), strict=True))


async def groups(writer: Writer, starts: range) -> dict[int, Outcome]:
    async def group(start: int) -> list[Outcome]:
        writes = [Write("things", "create", record(key)) for key in range(start, start + starts.step)]
        return await writer.submit_all(writes, all_or_none=True)

    found = await gather(*(partial(group, start) for start in starts))
    return {start + index: each for start, group in zip(starts, found, strict=True) for index, each in enumerate(group)}


async def changes(writer: Writer, kind: str, ids: list[str], **fields: Any) -> dict[str, Outcome]:
    writes = [Write("things", kind, {"id": each, **fields}) for each in ids]
    return dict(zip(ids, await gather(*(partial(fate, writer, each) for each in writes)), strict=True))


def kinds(fates: dict[int, Outcome]) -> Counter[str]:
    return Counter(outcome.kind for outcome in fates.values())


async def test_p01_p02_p05_p07_a_hostile_network_and_a_server_that_is_killed(tmp_path: Path) -> None:
    """Creates, groups, updates and deletes: no outcome claims what the database denies, or denies what it holds;
    nothing is there twice; a group is there as a whole or not at all.
    """
    path = tmp_path / "crm.db"
    starts = range(10_000, 10_400, 20)
    with anyio.fail_after(PATIENCE):
        async with chaos(path, seed=SEED) as (url, proxy), client(url, "salesforce") as writer:
            created = await creates(writer, range(3000))
            grouped = await groups(writer, starts)
            ids = list(ids_of(created).values())
            updated = await changes(writer, "update", ids[: len(ids) // 2], half=-1.0)
            deleted = await changes(writer, "delete", ids[-40:])
    assert not proxy.missing

    held = rows(path)
    fates = created | grouped
    gone = {key for key, record_id in ids_of(created).items() if record_id in deleted and record_id not in held}
    changed = {record_id for record_id in updated if held[record_id]["half"] == -1.0}
    assert_created({key: each for key, each in fates.items() if key not in gone}, held, ignoring={"half"})
    for start in starts:
        there = {row["key"] for row in held.values()} & set(range(start, start + starts.step))
        assert len(there) in (0, starts.step), "a group in part"
    for record_id, outcome in updated.items():
        assert outcome.applied in ("maybe", "yes" if record_id in changed else "no"), outcome
    for record_id, outcome in deleted.items():
        assert outcome.applied in ("maybe", "no" if record_id in held else "yes"), outcome
    assert kinds(fates).keys() >= {"written", "rejected", "rolled_back", "unknown"}
    assert len(ids) >= 200


async def test_p02_results_in_any_order(tmp_path: Path) -> None:
    """The server echoes what it wrote, and the proxy shuffles all results, besides its other faults: an id reaches the
    caller whose record has it, or nobody.

    No provider is named. A client that was told to trust positions cannot notice that they are wrong.
    """
    path = tmp_path / "crm.db"
    with anyio.fail_after(PATIENCE):
        async with chaos(path, seed=SEED, shuffle=True) as (url, proxy), client(url, None) as writer:
            created = await creates(writer, range(1200))
    assert not proxy.missing
    assert_created(created, rows(path))
    assert kinds(created).keys() >= {"written", "rejected", "unknown"}
    assert len(ids_of(created)) >= 200
