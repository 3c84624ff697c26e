"""A load on a real disk, in this process or in one of its own."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
import pytest

import batcher
from batcher.__main__ import main

PATIENCE_SECONDS = 120.0
"""Far more than anything here takes; then a test fails instead of hanging."""

# The command, with a database whose calls can be slow, or hang before or after their work.
COMMAND = """
import sys
import anyio
from batcher.destinations import sqlite

delay, hang_before, hang_after = map(float, sys.argv[1:4])

class SQLite(sqlite.SQLite):
    calls = 0

    async def send(self, lane, items, *, all_or_none):
        SQLite.calls += 1
        number = SQLite.calls
        if number > hang_before:
            await anyio.sleep_forever()
        await anyio.sleep(delay)
        verdicts = await super().send(lane, items, all_or_none=all_or_none)
        if number > hang_after:
            await anyio.sleep_forever()
        return verdicts

sqlite.SQLite = SQLite
from batcher.__main__ import main
sys.exit(main(sys.argv[4:]))
"""


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@attrs.define
class Load:
    """One input file, one database, one results file. The record of line 7 is ``{"n": "7"}``."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    lines: int = 0
    processes: list[subprocess.Popen[str]] = attrs.field(factory=list)

    @property
    def input(self) -> Path:
        return self.folder / "in.csv"

    @property
    def database(self) -> Path:
        return self.folder / "crm.db"

    @property
    def results(self) -> Path:
        return self.folder / "in.csv.results.jsonl"

    def write_input(self, records: int) -> None:
        self.lines = records + 1
        self.input.write_text("n\n" + "".join(f"{line}\n" for line in range(2, self.lines + 1)))

    def arguments(self, *more: str) -> list[str]:
        return ["load", str(self.input), "--object", "things", "--to", f"sqlite:{self.database}", *more]

    def run(self, *more: str) -> tuple[int, str, str]:
        """Run the command in this process; return exit code, stdout and stderr."""
        return self.main(*self.arguments(*more))

    def main(self, *arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        printed = self.capture.readouterr()
        return code, printed.out, printed.err

    def start(
        self, *more: str, delay: float = 0.0, hang_before: float = 1e9, hang_after: float = 1e9
    ) -> subprocess.Popen[str]:
        """Start the command in a process of its own.

        :param delay: seconds that each call takes
        :param hang_before: the number of the last call that does its work
        :param hang_after: the number of the last call that answers
        """
        home = Path(batcher.__file__).parent.parent
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, (delay, hang_before, hang_after)), *self.arguments(*more)],
            env={**os.environ, "PYTHONPATH": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def wait_until(self, condition: Callable[[], bool], *, process: subprocess.Popen[str] | None = None) -> None:
        """Return as soon as *condition* holds; fail if it does not, or if *process* ends before."""
        give_up_at = monotonic() + PATIENCE_SECONDS
        pause = threading.Event()
        while not condition():
            assert monotonic() < give_up_at, "it never happened"
            assert process is None or process.poll() is None, "it ended early"
            pause.wait(0.01)

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Wait for the end of a process; return exit code, stdout and stderr."""
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err

    def entries(self) -> list[dict[str, Any]]:
        """Return the complete entries of the results file, without the header."""
        raw = self.results.read_bytes() if self.results.exists() else b""
        return [json.loads(line) for line in raw.split(b"\n")[1:-1]]

    def marks(self) -> list[list[int]]:
        return [entry["sending"] for entry in self.entries() if "sending" in entry]

    def outcomes(self) -> dict[int, dict[str, Any]]:
        """Return the last outcome of each line."""
        return {entry["line"]: entry for entry in self.entries() if "line" in entry}

    def applied(self) -> dict[int, str]:
        """Return what the file says of each line: yes, no, maybe, or sending."""
        state: dict[int, str] = {}
        for entry in self.entries():
            if "sending" in entry:
                state.update(dict.fromkeys(entry["sending"], "sending"))
            else:
                state[entry["line"]] = entry["applied"]
        return state

    def rows(self) -> list[dict[str, Any]]:
        """Return what the database holds."""
        connection = sqlite3.connect(self.database)
        try:
            rows = connection.execute("SELECT id, record FROM things ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # no table: nothing was written
            rows = []
        connection.close()
        return [{**json.loads(record), "id": str(key)} for key, record in rows]

    def assert_agreement(self) -> None:
        """The file claims nothing that the database denies, and denies nothing that it holds."""
        held = Counter(int(row["n"]) for row in self.rows())
        applied = self.applied()
        assert max(held.values(), default=0) <= 1, "written twice"
        assert {line for line, state in applied.items() if state == "yes"} <= held.keys()
        assert held.keys() <= {line for line, state in applied.items() if state != "no"}
        ids = {int(row["n"]): row["id"] for row in self.rows()}
        written = {line: entry["id"] for line, entry in self.outcomes().items() if entry["outcome"] == "written"}
        assert written.items() <= ids.items()

    def assert_complete(self) -> None:
        """Every line is in the database, once."""
        assert sorted(int(row["n"]) for row in self.rows()) == list(range(2, self.lines + 1))


@pytest.fixture
def load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Load]:
    load = Load(tmp_path, capsys)
    yield load
    for process in load.processes:
        process.kill()
        process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    from tests.cli.serving import Server  # which needs COMMAND of this module

    server = Server(tmp_path)
    yield server
    if hasattr(server, "process"):
        server.process.kill()
        server.process.communicate()
