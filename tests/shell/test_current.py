"""Which backend runs here, with any trio that somebody has loaded."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace

import pytest
import trio

from batcher import Batcher
from batcher._shell.backend.current import current_backend


class Older:
    """Trio before 0.29: it does not have the question, and raises for who is in none of its tasks."""

    lowlevel = SimpleNamespace(current_task=trio.lowlevel.current_task)


LOADED = [trio, Older, ModuleType("trio"), None]
IDS = ["new", "older", "half imported", "not"]


@pytest.mark.parametrize("loaded", LOADED, ids=IDS)
def test_asyncio_is_found_whatever_trio_is_loaded(monkeypatch, loaded):
    """A trio that was merely imported breaks nobody on asyncio."""
    monkeypatch.setitem(sys.modules, "trio", loaded)

    async def main() -> object:
        assert current_backend().name == "asyncio"

        async def write(key, records):
            return records

        async with Batcher(write) as batcher:
            return await batcher.submit("a")

    assert asyncio.run(main()) == "a"


@pytest.mark.parametrize("loaded", LOADED[:2], ids=IDS[:2])
def test_trio_is_found_whatever_its_age(monkeypatch, loaded):
    """By its own word, or by its having a task here."""

    async def main() -> str:
        monkeypatch.setattr(trio.lowlevel, "in_trio_task", trio.lowlevel.in_trio_task)
        if loaded is Older:
            monkeypatch.delattr(trio.lowlevel, "in_trio_task")
        return current_backend().name

    assert trio.run(main) == "trio"


@pytest.mark.parametrize("loaded", LOADED, ids=IDS)
def test_outside_of_any_loop_is_no_backend(monkeypatch, loaded):
    """Whatever is loaded."""
    monkeypatch.setitem(sys.modules, "trio", loaded)
    with pytest.raises(RuntimeError, match="no running event loop"):
        current_backend()
