"""``batcher demo``, in small."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from batcher.cli._errors import CommandError, ExitCode
from batcher.cli.demo import command as demo
from batcher.cli.demo.workload import Run, workload
from batcher.destinations import sqlite

SMALL = demo.Scale(records=1_200, groups=4, callers=60, delay=0.001)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def figures(text: str) -> dict[str, list[str]]:
    rows = (line.replace("│", "|").split("|")[1:-1] for line in text.splitlines() if "│" in line)
    return {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows}


def test_the_table_adds_up(capsys: pytest.CaptureFixture[str], temporary: Path) -> None:
    """
    Every record has a fate, the database holds what callers were told, and nothing is left behind.
    """
    assert anyio.run(demo.demo, SMALL) is ExitCode.OK

    out = capsys.readouterr().out
    table = {name: [cell.replace(",", "") for cell in cells] for name, cells in figures(out).items()}
    alone, together = ({name: cells[column] for name, cells in table.items()} for column in (0, 1))
    assert (alone["records"], alone["calls"], alone["records per call"]) == ("60", "60", "1.0")
    assert together["records"] == "1200"
    kinds = [int(together[kind]) for kind in ("written", "rejected", "rolled back")]
    assert sum(kinds) == 1_200
    assert kinds[2] == 8
    assert int(together["of them before any call"]) == 1
    assert int(together["calls"]) < 100
    assert f"Told 'written': {kinds[0]:,} callers. In the database: {kinds[0]:,} records." in out
    for word in ("Written(record_id=", "RecordRejected: ", "RecordRolledBack: ", "batcher load", "p50", "p99"):
        assert word in out
    assert list(temporary.iterdir()) == []


def test_the_data_are_always_the_same() -> None:
    """
    Seeded, of the promised size, with faults of each kind.
    """
    work = workload(10_000, 4)

    assert repr(work) == repr(workload(10_000, 4))  # by repr, since NaN differs from itself
    assert (work.records, len(work.groups)) == (10_000, 4)
    emails = [contact["email"] for contact in work.singles]
    assert 50 < emails.count("") < 150
    assert 50 < emails.count(emails[0]) < 150
    assert sum(contact["lifetime_value"] != contact["lifetime_value"] for contact in work.singles) == 9


def test_percentiles_are_of_the_waits_measured() -> None:
    """
    Nearest rank: a figure that some record really waited.
    """
    run = Run(records=4)
    run.waits += [0.4, 0.1, 0.3, 0.2]

    assert [run.wait(percent) for percent in (0, 25, 50, 99, 100)] == [0.1, 0.1, 0.2, 0.4, 0.4]


def test_an_interrupted_demo_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ctrl-C: exit code 130, no table, no temporary files.
    """

    async def interrupt(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    monkeypatch.setattr(sqlite.SQLite, "send", interrupt)

    assert anyio.run(demo.demo, SMALL) is ExitCode.INTERRUPTED
    assert "p99" not in capsys.readouterr().out
    assert list(temporary.iterdir()) == []


def test_over_http_the_figures_are_the_same(
    capsys: pytest.CaptureFixture[str], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Through a server on a real socket each caller is told what it is told without one, whatever proxy is set; and
    nothing is left behind.
    """
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    tables = []
    for scale in (SMALL, attrs.evolve(SMALL, http=True)):
        assert anyio.run(demo.demo, scale) is ExitCode.OK
        out = capsys.readouterr().out
        table = figures(out)
        tables.append({kind: table[kind] for kind in ("records", "written", "rejected", "rolled back")})
        assert f"In the database: {table['written'][1]} records." in out
        assert ("loopback socket" in out) is scale.http
        for word in ("Written(record_id=", "DUPLICATE_VALUE", "RecordRolledBack: "):
            assert word in out

    assert tables[0] == tables[1]
    assert int(table["calls"][1]) < 100
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("http", [False, True])
def test_a_demo_that_hangs_is_stopped(
    capsys: pytest.CaptureFixture[str], temporary: Path, monkeypatch: pytest.MonkeyPatch, http: bool
) -> None:
    """
    Bounded in time, in words, and without a trace; also with requests under way.
    """

    async def hang(*_: Any, **__: Any) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(sqlite.SQLite, "send", hang)

    with pytest.raises(CommandError, match="longer than"):
        anyio.run(demo.demo, attrs.evolve(SMALL, http=http, patience=0.5))
    assert list(temporary.iterdir()) == []
