"""Which backend runs here."""

from __future__ import annotations

import sys

from batcher._shell.backend.waiters import Backend


def current_backend() -> Backend:
    """Return the backend of the running task.

    :raises RuntimeError: no event loop is running here
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from batcher._shell.backend.on_trio import trio_backend

        return trio_backend()
    from batcher._shell.backend.on_asyncio import asyncio_backend

    return asyncio_backend()
