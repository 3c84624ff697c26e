"""What a scenario is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeAlias

import anyio
import attrs

from benchmarks.contestants import version_of
from benchmarks.findings import Findings
from benchmarks.measuring import Scale

Part: TypeAlias = Callable[[Scale], Findings]
Measure: TypeAlias = Callable[[Scale], Awaitable[Findings]]


@attrs.frozen(kw_only=True)
class Scenario:
    """A question, and the parts that answer it: each runs in a fresh process, with everybody taking turns in it."""

    title: str
    text: str
    """How it is measured."""
    parts: Mapping[str, Part]


def on_asyncio(measure: Measure) -> Part:
    """Return a part that runs on asyncio."""
    return partial(_run, measure, "asyncio", None)


def on_uvloop(measure: Measure) -> Part:
    """Return a part that runs on asyncio with uvloop, if that is installed."""
    return partial(_run, measure, "asyncio", "uvloop")


def on_trio(measure: Measure) -> Part:
    """Return a part that runs on trio, if that is installed."""
    return partial(_run, measure, "trio", "trio")


def _run(measure: Measure, backend: str, needed: str | None, scale: Scale) -> Findings:
    if needed is not None and version_of(needed) is None:
        return Findings(notes=[f"{needed} is not installed"])
    options = {"use_uvloop": needed == "uvloop"} if backend == "asyncio" else {}
    return anyio.run(measure, scale, backend=backend, backend_options=options)
