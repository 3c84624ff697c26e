"""Every async test runs on both loops, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.virtual_time import options


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, options(request.param)
