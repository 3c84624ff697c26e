"""``batcher load``, in this process: what is written, what is said, and how it ends."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import airportsdata
import pytest

from batcher.cli.load.input_file import InputFile
from batcher.cli.load.results import ResultsFile
from batcher.destinations import sqlite
from batcher.policies import AutoBatchPolicy, Limits


def test_a_file_is_written_once_in_full_batches(load: Any) -> None:
    """
    Exit code 0, a call per hundred records, an outcome with its id for each line.
    """
    load.write_input(250)

    code, out, err = load.run()

    assert (code, [len(mark) for mark in load.marks()]) == (0, [100, 100, 50])
    for words in ("250 records in", "250  written", str(load.results)):
        assert words in out
    assert "in.csv" in err
    load.assert_agreement()
    load.assert_complete()


def test_airports_are_written_field_by_field(load: Any) -> None:
    """
    A real file with awkward text: all of it once and equal; a second time, each line a duplicate.
    """
    airports = [{name: str(value) for name, value in row.items()} for row in airportsdata.load("ICAO").values()]
    with load.input.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(airports[0]))
        writer.writeheader()
        writer.writerows(airports)

    code, _, _ = load.end(load.start("--empty-cells", "send"))

    assert (code, len(airports) > 28_000) == (0, True)
    assert len(load.marks()) <= len(airports) / 95
    rows = {row["icao"]: row for row in load.rows()}
    ids = {row["icao"]: row.pop("id") for row in rows.values()}
    assert rows == {airport["icao"]: airport for airport in airports}
    assert [entry["id"] for _, entry in sorted(load.outcomes().items())] == [ids[each["icao"]] for each in airports]

    again = load.folder / "again.jsonl"
    code, _, _ = load.end(load.start("--unique", "icao", "--results", str(again)))

    assert (code, len(load.rows())) == (1, len(airports))
    entries = [json.loads(line) for line in again.read_text().splitlines()[1:]]
    refusals = sorted((entry for entry in entries if "line" in entry), key=lambda entry: int(entry["line"]))
    assert [entry["line"] for entry in refusals] == list(range(2, len(airports) + 2))
    assert {(e["outcome"], e["applied"], e["errors"][0]["code"], *e["errors"][0]["fields"]) for e in refusals} == {
        ("rejected", "no", "DUPLICATE_VALUE", "icao")
    }


def test_each_line_has_its_own_fate(load: Any) -> None:
    """
    Refused by the reader, at the edge or by the database: its own line only, and exit code 1.
    """
    path = load.folder / "mixed.jsonl"
    path.write_text('{"n": "1"}\n[]\n{"n": "3", "big": 9007199254740993}\n{"x": 1}\n{"n": "1"}\n{"n": "6"}\n{}\n')

    code, out, _ = load.main(
        *("load", str(path), "--object", "things", "--to", f"sqlite:{load.database}"),
        *("--unique", "n", "--required", "n"),
    )

    entries = [json.loads(line) for line in (load.folder / "mixed.jsonl.results.jsonl").read_text().splitlines()]
    codes = {e["line"]: e["errors"][0]["code"] if "errors" in e else e["id"] for e in entries if "line" in e}
    assert code == 1
    assert codes == {
        1: "1",
        2: "not_an_object",
        3: None,
        4: "REQUIRED_FIELD_MISSING",
        5: "DUPLICATE_VALUE",
        6: codes[6],
        7: None,
    }
    assert sorted(row["n"] for row in load.rows()) == ["1", "6"]
    for words in ("2  written", "5  rejected", "line 2: the line is JSON"):
        assert words in out


def test_update_upsert_and_delete(load: Any) -> None:
    """
    The other three types do what their names say.
    """
    load.write_input(3)
    path = load.folder / "changes.csv"

    def change(text: str, *arguments: str) -> list[dict[str, Any]]:
        path.write_text(text)
        results = str(load.folder / f"{arguments[1]}.jsonl")
        code, _, _ = load.main(
            *("load", str(path), "--object", "things", "--to", f"sqlite:{load.database}", "--results", results),
            *arguments,
        )
        assert code == 0
        rows: list[dict[str, Any]] = load.rows()
        return rows

    assert len(change("n\n2\n3\n4\n", "--type", "create")) == 3
    assert change("id,x\n2,new\n", "--type", "update")[1] == {"id": "2", "n": "3", "x": "new"}
    assert change("n,x\n4,y\n5,z\n", "--type", "upsert", "--by", "n")[2:] == [
        {"id": "3", "n": "4", "x": "y"},
        {"id": row_id(load, "5"), "n": "5", "x": "z"},
    ]
    assert [row["n"] for row in change("id\n1\n", "--type", "delete")] == ["3", "4", "5"]


def row_id(load: Any, n: str) -> str:
    return next(str(row["id"]) for row in load.rows() if row["n"] == n)


def test_formats_and_delimiters(load: Any) -> None:
    """
    TSV by its suffix, anything by --format and --delimiter, an empty file without a word of failure.
    """
    for name, text, arguments in [
        ("a.tsv", "n\tm\n2\t1\n", ()),
        ("b.txt", "n;m\n3;1\n", ("--format", "csv", "--delimiter", ";")),
        ("c.csv", "n\tm\n4\t1\n", ("--delimiter", "tab")),
        ("d.jsonl", '{"n": "5", "m": "1"}\n', ()),
        ("e.jsonl", "", ()),
        ("f.csv", "n,m\n", ()),
    ]:
        path = load.folder / name
        path.write_text(text)
        code, _, _ = load.main("load", str(path), "--object", "things", "--to", f"sqlite:{load.database}", *arguments)
        assert code == 0

    assert [(row["n"], row["m"]) for row in load.rows()] == [("2", "1"), ("3", "1"), ("4", "1"), ("5", "1")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--to", "x.db"],
            "--to must be sqlite:PATH, ampersand:PROJECT/INTEGRATION, hubspot or salesforce:ADDRESS, not 'x.db'",
        ),
        (["--to", "sqlite:"], "--to must be sqlite:PATH"),
        (["--to", "sqlite::memory:"], "name a file"),
        (["--to", "sqlite:/missing/folder/x.db"], "the destination cannot be opened: cannot open the database"),
        (["--object", ""], "--object must be the name"),
        (["--object", "a b"], "object must be 1 to 63"),
        (["--type", "upsert"], "--type upsert needs --by"),
        (["--by", "n"], "--by belongs to --type upsert"),
        (["--unique", "id"], "'id' must not be in unique"),
        (["--resend-unknown"], "--resend-unknown needs --resume"),
        (["--delimiter", "ab"], "--delimiter must be one character"),
        (["--delimiter", ""], "--delimiter must be one character"),
        (["--resume"], "there is no results file"),
        (["--results", "/missing/folder/r.jsonl"], "cannot be made: No such file"),
        (["--type", "merge"], "invalid choice: 'merge'"),
    ],
)
def test_wrong_arguments_are_a_sentence(load: Any, arguments: list[str], words: str) -> None:
    """
    Exit code 2, the reason on stderr and no bar before it, no traceback, and neither a results file nor a record left
    behind.
    """
    load.write_input(3)

    code, out, err = load.run(*arguments)

    assert (code, out) == (2, "")
    assert words in err.replace("\n", " ")
    assert "records/s" not in err
    assert "Traceback" not in err
    assert not load.results.exists()
    assert load.rows() == []


def test_a_wrong_input_is_a_sentence(load: Any) -> None:
    """
    Missing, of unknown format, or with an unusable header.
    """
    for name, words in [("in.csv", "cannot be opened"), ("in.parquet", "give --format"), ("twice.csv", "2 times")]:
        (load.folder / "twice.csv").write_text("a,a\n1,2\n")
        code, _, err = load.main(
            "load", str(load.folder / name), "--object", "things", "--to", f"sqlite:{load.database}"
        )
        assert (code, words in err) == (2, True)


@pytest.mark.parametrize("more", [[], ["--format", "csv"]])
def test_stdin_is_not_supported(load: Any, more: list[str]) -> None:
    """
    The reason is a sentence, before any question of its format.
    """
    code, out, err = load.main("load", "-", "--object", "things", "--to", f"sqlite:{load.database}", *more)

    assert (code, out, "stdin is not supported" in err, "only from a file" in err) == (2, "", True, True)


def test_one_record_is_one_record(load: Any) -> None:
    """
    The summary counts in English.
    """
    load.write_input(1)

    code, out, _ = load.run()

    assert (code, "1 record in " in out) == (0, True)


def test_results_are_never_overwritten(load: Any) -> None:
    """
    The same command again is refused; with --resume it has nothing to do.
    """
    load.write_input(150)
    assert load.run()[0] == 0
    before = load.results.read_bytes()

    code, _, err = load.run()
    assert (code, "exists already: add --resume" in err) == (2, True)
    code, out, _ = load.run("--resume")
    assert (code, "0 records" in out, "150  written by an earlier run" in out) == (0, True, True)
    assert load.results.read_bytes() == before
    load.assert_complete()


def test_a_changed_input_is_not_resumed(load: Any) -> None:
    """
    Line numbers of another file mean nothing.
    """
    load.write_input(150)
    assert load.run()[0] == 0
    load.write_input(151)

    code, _, err = load.run("--resume")

    assert (code, "in.csv has changed since this load began (" in err, "sha256" in err) == (2, True, False)
    assert len(load.rows()) == 150


def test_rejected_lines_are_sent_again_on_resume(load: Any) -> None:
    """
    What was refused for a reason that is gone is written; what was written stays written once.
    """
    load.write_input(150)
    assert load.run("--required", "m")[0] == 1
    assert load.rows() == []

    code, out, _ = load.run("--resume")
    assert (code, "150  written" in out) == (0, True)
    load.assert_agreement()
    load.assert_complete()


def test_memory_does_not_grow_with_the_file(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No more lines are under way than the window holds, wherever they wait.
    """
    monkeypatch.setattr("batcher.cli.load.pump._WINDOW", 250)
    under_way: list[int] = []
    send = sqlite.SQLite.send

    async def counting_send(self: Any, *arguments: Any, **options: Any) -> Any:
        under_way.append(sum(map(len, load.marks())) - len(load.outcomes()))
        return await send(self, *arguments, **options)

    monkeypatch.setattr(sqlite.SQLite, "send", counting_send)
    load.write_input(2_000)

    assert load.run()[0] == 0
    assert 0 < max(under_way) <= 250
    load.assert_complete()


def test_faulty_lines_alone_do_not_fill_the_window(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file in which everything is wrong ends too.
    """
    monkeypatch.setattr("batcher.cli.load.pump._WINDOW", 10)
    load.input.write_text("n,m\n" + "1\n" * 95)

    code, out, _ = load.run()

    assert (code, "95  rejected" in out) == (1, True)
    assert sorted(load.outcomes()) == list(range(2, 97))


def test_a_full_house_of_bytes_is_waited_for(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Large records wait for a place, and each is written once.
    """
    small = Limits(max_pending_bytes=200, max_lane_bytes=200)
    monkeypatch.setattr("batcher.cli.load.pump._LIMITS", small)
    monkeypatch.setattr("batcher.cli.load.pump._AUTO_BATCH", AutoBatchPolicy(max_delay=0))
    load.write_input(100)

    assert load.run()[0] == 0
    load.assert_agreement()
    load.assert_complete()


class NoSpace:
    """Raises "No space left on device" from a certain call on."""

    def __init__(self, function: Any, after: int) -> None:
        self.function, self.left = function, after

    def __call__(self, *arguments: Any) -> Any:
        if self.left <= 0:
            raise OSError(28, "No space left on device")
        self.left -= 1
        return self.function(*arguments)


@pytest.mark.parametrize(("method", "after"), [("begin", 0), ("mark", 0), ("mark", 3)])
def test_nothing_is_sent_that_cannot_be_marked(
    load: Any, monkeypatch: pytest.MonkeyPatch, method: str, after: int
) -> None:
    """
    A full disk ends the load with a sentence, and the file still agrees with the database.
    """
    load.write_input(3_000)
    failing = NoSpace(getattr(ResultsFile, method), after)
    monkeypatch.setattr(ResultsFile, method, lambda self, *arguments: failing(self, *arguments))

    code, _, err = load.run()

    assert (code, "cannot be written: No space left" in err) == (2, True)
    assert len(load.rows()) == after * 100
    monkeypatch.undo()
    load.assert_agreement()
    if load.results.exists():
        assert load.run("--resume")[0] == 0
        load.assert_complete()


def test_outcomes_that_cannot_be_recorded_stay_open(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without their outcomes, lines stay marked as being sent: nothing is claimed, nothing denied.
    """
    load.write_input(3_000)
    failing = NoSpace(ResultsFile.append, 3)
    monkeypatch.setattr(ResultsFile, "append", lambda self, *arguments: failing(self, *arguments))

    code, _, err = load.run()

    assert (code, "cannot be written: No space left" in err) == (2, True)
    monkeypatch.undo()
    load.assert_agreement()
    code, out, _ = load.run("--resume", "--unique", "n")
    assert (code, "left alone" in out) == (1, True)
    load.assert_agreement()
    load.assert_complete()


def test_an_input_that_cannot_be_read_to_its_end(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was read is written and recorded; the reason is a sentence.
    """
    load.write_input(1_000)
    take = InputFile.take

    def failing_take(self: InputFile) -> Any:
        if self.offset > 1_000:
            raise OSError(5, "Input/output error")
        return take(self)

    monkeypatch.setattr(InputFile, "take", failing_take)

    code, out, err = load.run()

    assert (code, "cannot be read: Input/output error" in err) == (2, True)
    assert f"{len(load.rows())}  written" in out
    load.assert_agreement()


def test_a_locked_database_is_a_sentence(load: Any) -> None:
    """
    A file that is no database ends the load before anything is sent.
    """
    load.write_input(3)
    Path(load.database).write_text("this is not a database, but a text of some length\n" * 100)

    code, _, err = load.main(*load.arguments())

    assert (code, "give the path of a SQLite file" in err, load.results.exists()) == (2, True, False)
