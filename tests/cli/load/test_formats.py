"""From lines to records: what is a record, what is a fault, and at which line."""

from __future__ import annotations

import csv
import io
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.cli._errors import CommandError
from batcher.cli.load.formats import CSVRows, JSONRows, Row
from batcher.cli.load.lines import Lines


def read(data: bytes, rows: CSVRows | JSONRows) -> list[Row]:
    return list(rows.read(Lines(BytesIO(data), len(data))))


def read_csv(data: bytes, **options: Any) -> list[Row]:
    return read(data, CSVRows(**options))


def faults(rows: list[Row]) -> list[tuple[int, str | None]]:
    return [(row.line, row.fault.code) for row in rows if row.fault is not None]


def records(rows: list[Row]) -> list[tuple[int, dict[str, Any] | None]]:
    return [(row.line, row.record) for row in rows if row.fault is None]


class TestCSV:
    def test_a_record_is_numbered_by_the_line_it_begins_at(self) -> None:
        """
        Quoted line breaks do not shift the numbers of the records behind them.
        """
        rows = read_csv(b'name,city\r\nAda,"Lon\r\ndon"\r\n\r\nBob,"a ""b"" c"\r\n')

        assert records(rows) == [
            (2, {"name": "Ada", "city": "Lon\r\ndon"}),
            (5, {"name": "Bob", "city": 'a "b" c'}),
        ]

    def test_empty_cells_are_left_out_or_sent(self) -> None:
        """
        By default an empty cell says nothing about its field.
        """
        data = b"name,city\nAda,\n,\n"

        assert records(read_csv(data)) == [(2, {"name": "Ada"}), (3, {})]
        assert records(read_csv(data, empty_cells="send")) == [
            (2, {"name": "Ada", "city": ""}),
            (3, {"name": "", "city": ""}),
        ]

    def test_blank_lines_are_no_records(self) -> None:
        """
        Also before the header, and also if they hold blanks; in a single column, blanks are a value.
        """
        assert records(read_csv(b"\n\na,b\n\n  \n1,2\n\n")) == [(6, {"a": "1", "b": "2"})]
        assert records(read_csv(b"a\n \n\n")) == [(2, {"a": " "})]

    def test_bad_bytes_cost_their_own_line_only(self) -> None:
        """
        One line in Latin-1 does not stop a file, and names the field at fault.
        """
        rows = read_csv("name,city\nAda,Zürich\n".encode() + "Bob,Zürich\n".encode("latin-1") + b"Cy,Bern\n")

        assert records(rows) == [(2, {"name": "Ada", "city": "Zürich"}), (4, {"name": "Cy", "city": "Bern"})]
        assert [(row.line, row.fault.code, row.fault.fields) for row in rows if row.fault] == [
            (3, "not_utf8", ("city",))
        ]

    def test_a_nul_byte_costs_its_own_line_only(self) -> None:
        """
        NUL is the mark of a damaged file, not text.
        """
        rows = read_csv(b"name\nA\0da\nBob\n")

        assert (faults(rows), records(rows)) == ([(2, "nul_byte")], [(3, {"name": "Bob"})])

    def test_a_wrong_number_of_cells_costs_its_own_line_only(self) -> None:
        """
        A shifted record is never loaded with values under wrong names.
        """
        rows = read_csv(b"a,b\n1\n1,2,3\n1,2\n")

        assert faults(rows) == [(2, "wrong_number_of_cells"), (3, "wrong_number_of_cells")]
        assert records(rows) == [(4, {"a": "1", "b": "2"})]

    def test_malformed_quotes_say_how_far_they_reach(self) -> None:
        """
        A quote closed in a later line is refused as one record, and the message says which lines went with it.
        """
        rows = read_csv(b'a,b\n1,"2\n3,"4\n5,6\n')

        assert faults(rows) == [(2, "malformed_csv")]
        assert "lines 2 to 3" in (rows[0].fault.message if rows[0].fault else "")
        assert records(rows) == [(4, {"a": "5", "b": "6"})]

    def test_a_quote_open_at_the_end_is_refused(self) -> None:
        """
        Half a record is not a record.
        """
        rows = read_csv(b'a,b\n1,2\n3,"4\n')

        assert (faults(rows), len(records(rows))) == ([(3, "malformed_csv")], 1)

    def test_old_line_endings_within_a_record_are_refused_there(self) -> None:
        """
        A bare carriage return neither joins nor splits records.
        """
        rows = read_csv(b"a,b\n1,2\r3,4\n5,6\n")

        assert (faults(rows), records(rows)) == ([(2, "malformed_csv")], [(3, {"a": "5", "b": "6"})])

    def test_a_record_too_long_costs_its_own_line_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Memory is bounded whatever the file holds.
        """
        monkeypatch.setattr("batcher.cli.load.lines.MAX_RECORD_BYTES", 10)
        rows = read_csv(b"a,b\n1,aaaaaaaaaaaaaaaaaaaa\n1,2\n")

        assert (faults(rows), records(rows)) == ([(2, "too_long")], [(3, {"a": "1", "b": "2"})])

    def test_large_cells_pass(self) -> None:
        """
        The csv module's own limit of 128 KiB is lifted.
        """
        assert records(read_csv(b"a\n" + b"x" * 500_000 + b"\n")) == [(2, {"a": "x" * 500_000})]

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"a,,c\n", "no name for column 2"),
            (b"a,b,a\n", "names the column 'a' 2 times"),
            (b"a,\xff\n", "not UTF-8"),
            (b"a,\0\n", "not UTF-8"),
            (b'a,"b\n', "line 1 cannot be read: unexpected end of data"),
            (b"a,b\r1,2\r", "line 1 cannot be read"),
            (b"a;b\n1;2\n", "--delimiter ';'"),
            (b"a\tb\n", "--delimiter 'tab'"),
            (b"a" * 17 * 1024 * 1024, "too long"),
        ],
    )
    def test_a_header_that_cannot_name_fields_ends_the_load(self, data: bytes, words: str) -> None:
        """
        The message says what is wrong with the header, and how to go on.
        """
        with pytest.raises(CommandError, match=words):
            read_csv(data)

    @given(
        st.lists(
            st.lists(
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2
            ),
            max_size=8,
        ),
        st.sampled_from([",", ";", "\t"]),
    )
    def test_what_a_csv_writer_writes_is_read_back(self, table: list[list[str]], delimiter: str) -> None:
        """
        Any text in any cell comes back as it was, at the line where it was written.
        """
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow(["a", "b"])
        expected = []
        for cells in table:
            expected.append((file.getvalue().count("\n") + 1, dict(zip(("a", "b"), cells, strict=True))))
            writer.writerow(cells)

        assert records(read_csv(file.getvalue().encode(), delimiter=delimiter, empty_cells="send")) == expected


class TestJSON:
    def test_one_object_per_line(self) -> None:
        """
        Values keep their types; blank lines are no records.
        """
        rows = read(b'\xef\xbb\xbf{"a": 1, "b": [true, null]}\r\n\n  \n{"a": "\xc3\xbc"}', JSONRows())

        assert records(rows) == [(1, {"a": 1, "b": [True, None]}), (4, {"a": "ü"})]

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b'{"a": 1', "not_json"),
            (b'{"a": 1} {"b": 2}', "not_json"),
            (b"[" * 100_000, "not_json"),
            (b'{"a": ' + b"9" * 5_000 + b"}", "not_json"),
            (b'{"a": NaN}', "not_a_number"),
            (b'{"a": -Infinity}', "not_a_number"),
            (b'{"a": 1, "a": 2}', "duplicate_field"),
            (b'{"a": {"b": 1, "b": 1}}', "duplicate_field"),
            (b"[1, 2]", "not_an_object"),
            (b"null", "not_an_object"),
            (b'{"a": "\xff"}', "not_utf8"),
            (b'{"a": "\0"}', "not_json"),
        ],
    )
    def test_a_faulty_line_costs_itself_only(self, line: bytes, code: str) -> None:
        """
        Each fault is reported at its own line, and the lines around it are loaded.
        """
        rows = read(b'{"n": 1}\n' + line + b'\n{"n": 3}\n', JSONRows())

        assert (faults(rows), records(rows)) == ([(2, code)], [(1, {"n": 1}), (3, {"n": 3})])

    def test_a_record_too_long_costs_its_own_line_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Memory is bounded whatever the file holds.
        """
        monkeypatch.setattr("batcher.cli.load.lines.MAX_RECORD_BYTES", 10)
        rows = read(b'{"a": "aaaaaaaaaaaaaaaaaaaa"}\n{"b": 2}\n', JSONRows())

        assert (faults(rows), records(rows)) == ([(1, "too_long")], [(2, {"b": 2})])
