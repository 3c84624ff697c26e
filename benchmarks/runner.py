"""Runs the parts of a scenario, each in a fresh process, and tells what machine it was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.children import run_child
from benchmarks.contestants import OTHERS, version_of
from benchmarks.findings import Findings, merged
from benchmarks.http_clients import CLIENTS
from benchmarks.measuring import Scale, say
from benchmarks.scenarios import SCENARIOS

_LIBRARIES = ("saas-batcher", "anyio", "attrs", "trio", "uvloop", "orjson", *CLIENTS, *OTHERS)


def measure(letter: str, scale: Scale) -> tuple[Findings, bool]:
    """Measure one scenario. A part that fails is told in a note, and the others go on.

    :returns: what was found, and whether every part ended well
    """
    scenario = SCENARIOS[letter]
    found: list[Findings] = []
    well = True
    for part in scenario.parts:
        say(f"  {letter}. {scenario.title}: {part}, {scale.name}")
        try:
            found.append(Findings.from_json(json.loads(run_child("benchmarks.part", letter, part, scale.name))))
        except subprocess.SubprocessError as error:
            reason = "took too long" if isinstance(error, subprocess.TimeoutExpired) else "failed: see its traceback"
            say(f"  {letter}. {scenario.title}: {part} {reason}")
            found.append(Findings(notes=[f"the part {part} {reason}"]))
            well = False
    return merged(found), well


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version_of(name) or "not installed" for name in _LIBRARIES},
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
