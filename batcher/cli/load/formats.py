"""CSV and JSON Lines: from lines to records. A fault belongs to the line where its record begins."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import attrs

from batcher.cli._errors import CommandError
from batcher.cli.load.lines import MAX_RECORD_BYTES, Lines, RecordTooLong
from batcher.destinations._http.decoding import NotJSON, decode
from batcher.outcomes import ErrorDetail


@attrs.frozen
class Row:
    """One record of the file, or the reason why there is none."""

    line: int
    """The physical line where the record begins; the first line of a file is 1."""
    record: dict[str, Any] | None = attrs.field(repr=False)
    """Field to value; None if the record is at fault."""
    fault: ErrorDetail | None = None
    """What is wrong with the record."""


def _too_long() -> ErrorDetail:
    return ErrorDetail(f"the record is longer than {MAX_RECORD_BYTES // 1024**2} MiB", code="too_long")


def _not_utf8(fields: tuple[str, ...] = ()) -> ErrorDetail:
    return ErrorDetail("the record holds bytes that are not UTF-8: save the file as UTF-8", "not_utf8", fields)


@attrs.define(eq=False)
class _Text:
    """The lines of one CSV record as text, remembering what is wrong with their bytes."""

    lines: Lines
    first: int = 0
    not_utf8: bool = False
    nul: bool = False

    def begin_record(self) -> None:
        self.first, self.not_utf8, self.nul = self.lines.number + 1, False, False
        self.lines.held = 0

    def __iter__(self) -> _Text:
        return self

    def __next__(self) -> str:
        raw = next(self.lines)
        self.nul = self.nul or b"\0" in raw
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.not_utf8 = True
            return raw.decode(errors="surrogateescape")


@attrs.define(eq=False)
class CSVRows:
    """The records of a CSV file (RFC 4180). All values are strings.

    :param delimiter: one character between two cells
    :param empty_cells: ``"omit"`` leaves the field out of the record, as the import tools of CRMs do,
        so that an update does not erase what the file does not know; ``"send"`` sends an empty string
    """

    format: ClassVar[str] = "csv"
    delimiter: str = ","
    empty_cells: Literal["omit", "send"] = "omit"

    def read(self, lines: Lines) -> Iterator[Row]:
        """Read the header now, and the records as they are asked for.

        :raises CommandError: the header cannot name fields
        """
        # A process-wide setting of the csv module; Lines holds the true limit, for the whole record.
        csv.field_size_limit(MAX_RECORD_BYTES)
        text = _Text(lines)
        reader = csv.reader(text, delimiter=self.delimiter, strict=True)
        return self._read_records(text, reader, self._header(text, reader))

    def _read_records(self, text: _Text, reader: Iterator[list[str]], header: list[str]) -> Iterator[Row]:
        while True:
            text.begin_record()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except RecordTooLong:
                yield Row(text.first, None, _too_long())
            except csv.Error as error:
                yield Row(text.first, None, _malformed(error, text))
            else:
                if not _is_blank(cells, header):
                    yield self._row(text, header, cells)

    def _header(self, text: _Text, reader: Iterator[list[str]]) -> list[str]:
        header: list[str] = []
        try:
            while not header:
                text.begin_record()
                header = next(reader)
        except StopIteration:
            raise CommandError("the input file is empty: a CSV file begins with a line of field names") from None
        except (csv.Error, RecordTooLong) as error:
            what = str(error) or "it is too long"
            raise CommandError(f"the CSV header in line {text.first} cannot be read: {what}") from None
        if problem := self._header_problem(header, text):
            raise CommandError(f"the CSV header in line {text.first} {problem}")
        return header

    def _header_problem(self, header: list[str], text: _Text) -> str | None:
        if text.not_utf8 or text.nul:
            return "is not UTF-8 text: save the file as UTF-8"
        if "" in header:
            return f"has no name for column {header.index('') + 1}: name every column"
        for name in header:
            if header.count(name) > 1:
                return f"names the column {name!r} {header.count(name)} times: names must differ"
        for other, word in ((";", ";"), ("\t", "tab"), ("|", "|")):
            if len(header) == 1 and other in header[0]:
                return f"is one column that holds {word!r}: if that is the separator, give --delimiter {word!r}"
        return None

    def _row(self, text: _Text, header: list[str], cells: list[str]) -> Row:
        fault = None
        if text.not_utf8:
            pairs = zip(header, cells, strict=False)
            fault = _not_utf8(tuple(name for name, cell in pairs if not _is_utf8(cell)))
        elif text.nul:
            fault = ErrorDetail("the record holds a NUL byte", code="nul_byte")
        elif len(cells) != len(header):
            fault = ErrorDetail(
                f"the record has {len(cells)} cells, the header {len(header)}", code="wrong_number_of_cells"
            )
        if fault is not None:
            return Row(text.first, None, fault)
        keep_all = self.empty_cells == "send"
        return Row(text.first, {name: cell for name, cell in zip(header, cells, strict=True) if cell or keep_all})


def _is_blank(cells: list[str], header: list[str]) -> bool:
    return not cells or (len(cells) == 1 < len(header) and not cells[0].strip())


def _is_utf8(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _malformed(error: csv.Error, text: _Text) -> ErrorDetail:
    last = text.lines.number
    span = "" if last == text.first else f"; lines {text.first} to {last} were read as this one record"
    return ErrorDetail(f"the record is not well-formed CSV: {error}{span}", code="malformed_csv")


@attrs.define(eq=False)
class JSONRows:
    """The records of a JSON Lines file: one object per line; blank lines are skipped."""

    format: ClassVar[str] = "jsonl"

    def read(self, lines: Lines) -> Iterator[Row]:
        """Read the records as they are asked for."""
        while True:
            lines.held = 0
            try:
                raw = next(lines)
            except StopIteration:
                return
            except RecordTooLong:
                yield Row(lines.number, None, _too_long())
            else:
                if raw.strip():
                    yield self._row(lines.number, raw)

    def _row(self, line: int, raw: bytes) -> Row:
        try:
            value = decode(raw.rstrip(b"\r\n"))
        except NotJSON as error:
            return Row(line, None, _not_utf8() if error.code == "not_utf8" else error.detail("the line"))
        if not isinstance(value, dict):
            return Row(line, None, ErrorDetail("the line is JSON, but not an object", "not_an_object"))
        return Row(line, value)
