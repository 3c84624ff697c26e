"""Which backend runs here."""

from __future__ import annotations

import sys

from batcher._shell.backend.waiters import Backend


def current_backend() -> Backend:
    """Return the backend of the running task.

    :raises RuntimeError: no event loop is running here
    """
    if _in_trio_task():
        from batcher._shell.backend.on_trio import trio_backend

        return trio_backend()
    from batcher._shell.backend.on_asyncio import asyncio_backend

    return asyncio_backend()


def _in_trio_task() -> bool:
    # Who is on asyncio may have trio loaded all the same: half, while another thread imports it, or one without this
    # question, which came with trio 0.29.
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    if lowlevel is None:
        return False
    if hasattr(lowlevel, "in_trio_task"):
        return bool(lowlevel.in_trio_task())
    try:
        lowlevel.current_task()
    except RuntimeError:
        return False
    return True
