"""The guards themselves: every bug has one, and some are broken to see their tests fail; mutate.py breaks all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hard_cases.guards import Guard, LineMoved
from tests.hard_cases.mutate import all_guards, broken, copy_to


def test_every_bug_has_a_test_that_names_its_line():
    assert {guard.test[:8] for guard in all_guards()} == {f"test_b{number:02}" for number in range(1, 20)}


@pytest.mark.parametrize("bug", ["b03", "b08", "b13"])
def test_without_its_line_the_test_fails(bug: str, tmp_path: Path):
    """Shown for a few of them, in a copy."""
    copy_to(tmp_path)
    guard = next(guard for guard in all_guards() if guard.test.startswith(f"test_{bug}"))
    assert broken(guard, tmp_path) is not None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Lane.gone", "return"),
        ("Lane.force", "a line that is not there"),
        ("Lane.force", "self"),
    ],
)
def test_a_line_that_has_moved_is_noticed(name: str, line: str):
    guard = Guard("test", __file__, "batcher._core.lanes", name, line, broken="pass")
    with pytest.raises(LineMoved, match="test guards"):
        guard.source()
