"""CI shows how often each fault and each premise occurred, whether the tests passed or not."""

from __future__ import annotations

import pytest

from tests.simulation.test_seeds import played


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tally = played()
    if tally.seeds:
        terminalreporter.section("simulator")
        terminalreporter.write_line(str(tally))
