"""i: what ``import batcher`` costs."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

from benchmarks.children import run_code
from benchmarks.findings import Check, Findings, Row
from benchmarks.measuring import Scale, pairwise, say
from benchmarks.scenarios._scenario import Scenario

_CODE = "import time; began = time.process_time(); {}; print((time.process_time() - began) * 1000)"
_BASE, _BARE, _USED = "import anyio, attrs", "import batcher", "from batcher import Batcher, Writer"
_BASE_ON_ASYNCIO, _USED_ON_ASYNCIO = "import asyncio, anyio, attrs", f"import asyncio; {_USED}"
_STATEMENTS = (_BASE, _BARE, _USED, _BASE_ON_ASYNCIO, _USED_ON_ASYNCIO, "import httpx")


def _part(scale: Scale) -> Findings:
    figures: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    with TemporaryDirectory() as compiled:
        # Also where the environment forbids compiled files, and with the same kind of them for everybody.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = compiled
        for _ in range(scale.rounds * 2 + 1):  # they are short
            for statement, values in figures.items():
                values.append(float(run_code(_CODE.format(statement), env=env)))
    warm = {statement: values[1:] for statement, values in figures.items()}  # the first one compiles
    rows = [Row(statement, "ms", values) for statement, values in warm.items()]
    for row in rows:
        say(f"    {row.name}: {row.median:.0f} ms")
    checks = [
        Check(name=f"{ours} / {base}", values=pairwise(warm[ours], warm[base]), target=1.5, at_least=False)
        for ours, base in ((_BARE, _BASE), (_USED, _BASE), (_USED_ON_ASYNCIO, _BASE_ON_ASYNCIO))
    ]
    return Findings(rows, checks)


SCENARIO = Scenario(
    title="Importing",
    text="CPU time of a statement in a fresh interpreter, with compiled files in place. The names of `batcher` are "
    "imported on first use, so `import batcher` alone says little: `from batcher import Batcher, Writer` is what a "
    "program pays. With `asyncio` in both, it is what a program on asyncio pays that has anyio and attrs already; "
    "`import httpx` is shown for comparison: neither does it.",
    parts={"processes": _part},
)
