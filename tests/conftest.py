"""Every async test runs on both loops, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.testing import virtual_time


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, virtual_time(request.param)
