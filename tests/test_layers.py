"""The house: a module imports from its own layer and those below, no two import each other, and the core stays pure.

This holds because a test reads the imports, not because we remember. CONTRIBUTING.md draws it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import batcher

HOUSE = Path(batcher.__file__).parent
MODULES = sorted(path for path in HOUSE.rglob("*.py"))

# The layer of a module, by the longest prefix that matches. `batcher` itself only hands out names.
LAYERS = {
    "_extras": 0,
    "_retry_after": 0,
    "errors": 0,
    "outcomes": 0,
    "writes": 0,
    "policies": 0,
    "events": 0,
    "timing": 0,
    "_core": 1,
    "destinations": 2,
    "_shell": 3,
    "batching": 4,
    "writer": 4,
    "otel": 5,
    "server": 5,
    "testing": 5,
    "sandbox": 6,
    "cli": 7,
    "__main__": 8,
    "": 9,
}
PURE = {"__future__", "attrs", "batcher", "collections", "enum", "heapq", "itertools", "math", "operator", "typing"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__").removesuffix("__init__")


def layer_of(module: str) -> int:
    return LAYERS[module.partition(".")[0]]


def imports_of(path: Path) -> set[str]:
    """The modules that a file names, wherever in it: for types only, and inside of functions, too."""
    return set(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # `from package import module` names a file, too.
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in FILES)


FILES = {f"batcher.{name_of(path)}".rstrip("."): path for path in MODULES}


CONTRIBUTING = (HOUSE.parent / "CONTRIBUTING.md").read_text()
NAMED = {name for name in re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", CONTRIBUTING) if "pipedrive" not in name}


@pytest.mark.parametrize("named", sorted(NAMED))
def test_the_guide_names_files_that_are_there(named):
    """CONTRIBUTING.md names files from the root of the repository, or from where the reader is."""
    rooms = (HOUSE.parent, HOUSE, *(HOUSE / room for room in ("_core", "_shell", "destinations", "cli/load")))
    assert any((room / named).exists() for room in (*rooms, *(HOUSE / "destinations").iterdir()))


def test_the_drawing_of_the_house_is_true():
    """What stands in the package, in the core and among the destinations is drawn, and what is drawn is there."""
    drawing = CONTRIBUTING.partition("```text\n")[2].partition("```")[0]
    drawn = set(re.findall(r"\w+\.py|\w+(?=/)", drawing)) - {"I"}  # as in I/O
    for folder in (HOUSE, HOUSE / "_core", HOUSE / "destinations"):
        there = {path.name for path in folder.iterdir() if not path.name.startswith("__")} - {"py.typed"}
        assert there <= drawn
    assert all(any(HOUSE.parent.rglob(name)) for name in drawn)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_layer_and_below(path):
    """The table above is the house; nobody reaches up."""
    for imported in imports_of(path):
        if imported.startswith("batcher."):
            assert layer_of(imported.removeprefix("batcher.")) <= layer_of(name_of(path)), imported
        elif imported == "batcher":
            assert layer_of(name_of(path)) >= 5, "below the command nobody needs the public face"


def test_no_two_modules_import_each_other():
    """Neither directly nor in a circle, be it for types only: what is below can be read without what is above."""
    graph = {name: imports_of(path) & FILES.keys() - {name} for name, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_data_of_the_core_knows_none_of_its_rules():
    """What the core knows stands below what it decides."""
    for path in (HOUSE / "_core" / "model").glob("*.py"):
        inside = {name for name in imports_of(path) if name.startswith("batcher._core")}
        assert all(name.startswith("batcher._core.model") for name in inside), path.name


@pytest.mark.parametrize("path", sorted((HOUSE / "_core").rglob("*.py")), ids=name_of)
def test_the_core_cannot_wait_talk_or_throw_dice(path):
    """The core imports no clock, no random source and no I/O: only what is listed."""
    assert {module.partition(".")[0] for module in imports_of(path)} <= PURE


def test_only_the_backend_knows_the_backends():
    """asyncio and trio are imported in one place each, as are rich, httpx and sqlite3; and by the kit for tests."""
    knowing = {
        name_of(path) for path in MODULES if {"asyncio", "trio"} & {i.partition(".")[0] for i in imports_of(path)}
    }
    assert knowing <= {"_shell.backend.on_asyncio", "_shell.backend.on_trio", "testing"}


def test_importing_the_library_loads_no_destination_and_no_extra():
    """The public names alone import neither httpx nor sqlite3 nor rich nor trio nor opentelemetry."""
    extras = {"httpx", "sqlite3", "rich", "trio", "orjson", "opentelemetry"}
    code = f"import sys; from batcher import *; print(sorted({extras} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_importing_the_library_loads_no_event_loop():
    """The names load what they need and no more: who runs on trio never loads asyncio, a module of errors no anyio."""
    code = (
        "import sys; from batcher import RecordUnknown, Write; print('anyio' in sys.modules);"
        "from batcher import Batcher, Writer; print('asyncio' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.split() == ["False", "False"]
