"""What a scenario is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeAlias

import anyio
import attrs

from benchmarks.findings import Findings
from benchmarks.measuring import Scale

Part: TypeAlias = Callable[[Scale], Findings]


@attrs.frozen(kw_only=True)
class Scenario:
    """A question, and the parts that answer it: each runs in a fresh process, with everybody taking turns in it."""

    title: str
    text: str
    """How it is measured."""
    parts: Mapping[str, Part]


def on_asyncio(measure: Callable[[Scale], Awaitable[Findings]], *, uvloop: bool = False) -> Part:
    """Return a part that runs on asyncio."""
    return partial(_run, measure, "asyncio", {"use_uvloop": uvloop})


def on_trio(measure: Callable[[Scale], Awaitable[Findings]]) -> Part:
    """Return a part that runs on trio."""
    return partial(_run, measure, "trio", {})


def _run(
    measure: Callable[[Scale], Awaitable[Findings]], backend: str, options: dict[str, bool], scale: Scale
) -> Findings:
    return anyio.run(measure, scale, backend=backend, backend_options=options)
