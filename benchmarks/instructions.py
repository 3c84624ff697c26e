"""Instructions per submit, counted by valgrind: they do not depend on who else uses the machine.

``python -m benchmarks.instructions floor 2000`` is the program that is counted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import anyio

from benchmarks import contestants
from benchmarks.contestants import FLOOR, OURS
from benchmarks.findings import Findings, Row
from benchmarks.measuring import Scale, instant, many_callers, say

# The difference of two sizes leaves out what starting costs.
_FEW, _MANY, _CALLERS = 2_000, 12_000, 1_000
_OPENED = {FLOOR: contestants.floor, OURS: contestants.ours}
_SECONDS = 600.0


def count(scale: Scale) -> Findings:
    """Count for the floor and for the batcher. Valgrind slows a program fifty times, so only in a full run."""
    if scale.name != "full":
        return Findings()
    if shutil.which("valgrind") is None:
        return Findings(notes=["valgrind is not installed"])
    each = {}
    for name in _OPENED:
        each[name] = (_counted(name, _MANY) - _counted(name, _FEW)) / (_MANY - _FEW)
        say(f"    {name}: {each[name]:,.0f} instructions a submit")
    rows = [Row(f"{name} on asyncio", "instructions a submit", [found]) for name, found in each.items()]
    return Findings([*rows, Row(f"{FLOOR} / {OURS} on asyncio, instructions", "x", [each[FLOOR] / each[OURS]])])


def _counted(name: str, records: int) -> int:
    program = [sys.executable, "-m", __name__, name, str(records)]
    ended = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *program],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_SECONDS,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    collected = re.search(r"Collected\s*:\s*(\d+)", ended.stderr)
    if collected is None:
        raise RuntimeError("valgrind did not tell what it counted")
    return int(collected.group(1))


async def _submit(name: str, records: int) -> None:
    async with _OPENED[name](instant) as submit:
        await many_callers(submit, records, _CALLERS)


if __name__ == "__main__":
    anyio.run(_submit, sys.argv[1], int(sys.argv[2]))
