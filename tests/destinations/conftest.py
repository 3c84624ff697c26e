"""A real clock on both loops: file databases work in threads, over which virtual time would jump."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from tests.destinations.kinds import KINDS
from tests.destinations.service import Kind, Service
from tests.destinations.sqlite.helpers import Faulty


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    return ":memory:" if request.param == "memory" else tmp_path / "crm.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "crm.db"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Faulty]:
    """The connections that are opened in the test, in order."""
    opened: list[Faulty] = []

    def connect(*args: Any, **kwargs: Any) -> Any:
        opened.append(real(*args, factory=Faulty, **kwargs))
        return opened[-1]

    real = sqlite3.connect
    monkeypatch.setattr("batcher.destinations.sqlite.calls.sqlite3.connect", connect)
    return opened


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    """The destination that a folder of tests is about."""
    return KINDS[request.path.parent.name]


@pytest.fixture
async def service(kind: Kind, module: Any) -> AsyncIterator[Service]:
    async with Service(kind, module) as service:
        yield service
