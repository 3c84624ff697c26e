"""Forks: what was opened before one belongs to the parent.

The child has a copy of everything, records and tasks included. If that went on, each record would be sent twice; as the
event loop does not survive, usually whoever submits in there would wait for ever.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet

WORDS: Final = (
    "this batcher was opened before this process was forked, and belongs to the parent: open one in each worker, after "
    "the fork; with gunicorn --preload in post_fork or in the lifespan of the app, with Celery in worker_process_init"
)


class Forked(Protocol):
    """Somebody who wants to know."""

    def note_fork(self) -> None:
        """Hear that it is in a child now."""


_open: WeakSet[Forked] = WeakSet()
watch = _open.add


def _after_in_child() -> None:
    for each in list(_open):
        each.note_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_after_in_child)
