"""Play with interference at one place, or with none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any, Literal, TypeAlias

import anyio

from batcher.testing import virtual_time
from tests.interference.intruders import RAISING, interrupt
from tests.interference.play import Play
from tests.interference.tracing import Interference, signalled

Backend: TypeAlias = Literal["asyncio", "trio", "eager", "uvloop"]
"""``eager``: asyncio, and tasks begin to run where they are made. ``uvloop``: on the real clock, seconds a play."""
ON_THE_THRESHOLD = frozenset(
    {
        *("Shell.__aenter__", "Shell.__aexit__", "Shell._start", "Lifespan.begin", "Lifespan.end", "hold"),
        *("Nursery.__init__", "Nursery.begin", "Nursery.end", "Nursery.leave", "Nursery._hold"),
        *("TrioWaiter._abort", "TrioWaiter._resume"),
    }
)
BOUND = 500  # seconds of virtual time: whoever waits for longer waits for ever


def play_at(at: int, backend: Backend, intrude: Callable[[Play], Any] | None) -> Interference:
    """Play once, with interference before the bytecode number *at*, and check the laws."""
    play = Play(intrude)
    allowed = partial(_may_be, backend, intrude)
    interference = Interference(at, play.intrude, allowed) if intrude is not None else Interference()
    logging.disable()
    try:
        _run(play, interference, backend, may_end=intrude is interrupt)
        play.check()
    except BaseException as error:
        name = getattr(intrude, "__name__", intrude)
        error.add_note(f"{name} at bytecode {at} on {backend}, in {interference.where}")
        raise
    finally:
        logging.disable(logging.NOTSET)
    return interference


def _run(play: Play, interference: Interference, backend: Backend, *, may_end: bool) -> None:
    async def main() -> None:
        if backend == "eager":
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        with anyio.fail_after(BOUND), interference:
            await play.run()

    try:
        if backend == "uvloop":
            anyio.run(main, backend_options={"use_uvloop": True})
        else:
            loop: Literal["asyncio", "trio"] = "trio" if backend == "trio" else "asyncio"
            anyio.run(main, backend=loop, backend_options=virtual_time(loop))
    except BaseException as error:
        if not may_end or not _is(KeyboardInterrupt, error):
            raise
        play.trouble = error


def _is(kind: type[BaseException], error: BaseException) -> bool:
    """Return whether *error* is that, whatever else there is besides it in a group."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(kind) is not None
    return isinstance(error, kind)


def _may_be(backend: Backend, intrude: Callable[[Play], Any] | None, code: CodeType, offset: int) -> bool:
    """Return whether *intrude* may interfere here.

    Nothing is raised where a batcher is entered and left on trio: a nursery that is not left breaks trio itself, and
    only trio could protect the bytecodes before it is. Nor in what trio calls by itself.
    """
    if intrude not in RAISING:
        return True
    return offset in signalled(code) and not (backend == "trio" and code.co_qualname in ON_THE_THRESHOLD)


def places(backend: Backend, intrude: Callable[[Play], Any]) -> list[int]:
    """Return when *intrude* may interfere: at each bytecode that runs, the first time, the last, and in between."""
    play_at(-1, backend, None)  # everything is loaded
    found: set[int] = set()
    for (code, offset), times in play_at(-1, backend, None).places.items():
        if _may_be(backend, intrude, code, offset):
            found.update((times[0], times[len(times) // 2], times[-1]))
    return sorted(found)
