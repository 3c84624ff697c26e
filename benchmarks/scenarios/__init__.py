"""The scenarios, by letter."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.scenarios import (
    bulk,
    http,
    imports,
    lanes,
    latency,
    memory,
    pending,
    processes,
    submits,
    trickle,
    waiting,
)
from benchmarks.scenarios._scenario import Scenario

SCENARIOS: Mapping[str, Scenario] = {
    "a": submits.SCENARIO,
    "b": lanes.SCENARIO,
    "c": waiting.SCENARIO,
    "d": trickle.SCENARIO,
    "e": memory.SCENARIO,
    "f": bulk.SCENARIO,
    "g": http.SCENARIO,
    "h": pending.SCENARIO,
    "i": imports.SCENARIO,
    "j": latency.SCENARIO,
    "k": processes.SCENARIO,
}
