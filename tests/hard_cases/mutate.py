"""Break each guarded line in a copy of the package, and see its test fail. By hand, two minutes:

python -m tests.hard_cases.mutate [a part of the name of a test]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.hard_cases.guards import GUARDS, Guard

ROOT = Path(__file__).parents[2]


def all_guards() -> list[Guard]:
    """Return the guards of all tests here."""
    for module in ("test_b01_b10", "test_b11_b19"):
        import_module(f"tests.hard_cases.{module}")
    return sorted(GUARDS, key=lambda guard: guard.test)


def copy_to(folder: Path) -> None:
    """Copy what the tests need: a test finds the package next to it."""
    for name in ("batcher", "tests/hard_cases"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/__init__.py", "tests/api.py", "tests/conftest.py"):
        shutil.copy(ROOT / name, folder / name)


def broken(guard: Guard, folder: Path) -> str | None:
    """Run the test of *guard* without its line, in a copy in *folder*; return how it failed, None if it did not."""
    file, text = guard.source()
    there = folder / file.relative_to(ROOT)
    whole = there.read_text()
    assert whole.count(text) == 1, f"{guard.name} is not once in {file}"
    there.write_text(whole.replace(text, text.replace(guard.line, guard.broken)))
    test = f"{Path(guard.file).relative_to(ROOT)}::{guard.test}"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", test]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "999"}
    try:
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "it does not end"
    finally:
        there.write_text(whole)
    if run.returncode == 0:
        return None
    assert run.returncode == 1, run.stdout + run.stderr  # what pytest says when tests have failed
    failed = [line.partition(" - ") for line in run.stdout.splitlines() if line.startswith("FAILED")]
    assert all(why for _, _, why in failed), run.stdout  # in 999 columns there is room for it
    seen = [(test.partition("[")[2], why) for test, _, why in failed if "LineMoved" not in why]
    return f"{', '.join(case.rstrip(']') for case, _ in seen)}: {seen[0][1]}" if seen else None


def main() -> int:
    """Try all guards, or those of some tests; return 1 if one of them guards nothing."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    escaped = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        for guard in all_guards():
            if wanted in guard.test:
                how = broken(guard, folder)
                escaped += how is None
                print(f"{guard.test[:8]} {guard.name}: {guard.line!r} -> {guard.broken!r}\n    {how or 'NOT SEEN'}")
    return int(escaped > 0)


if __name__ == "__main__":
    sys.exit(main())
