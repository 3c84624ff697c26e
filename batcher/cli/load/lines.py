"""Physical lines of a file of any size: numbered, counted in bytes, never longer than memory allows."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import BinaryIO, Final

import attrs

# One record never needs more: policies cap a whole call at 1 MB. What is longer is a broken file,
# for example a quote that nobody closed, and must not be read into memory as one record.
MAX_RECORD_BYTES: Final = 16 * 1024 * 1024


class RecordTooLong(Exception):
    """The record that begins at the current line exceeds ``MAX_RECORD_BYTES``."""


@attrs.define(eq=False)
class Lines:
    """Iterates over the lines of *file* up to *size* bytes; what is appended later is not read."""

    file: BinaryIO
    size: int
    number: int = 0
    """Number of the line read last; the first one is 1."""
    offset: int = 0
    """Bytes read so far."""
    held: int = 0
    """Bytes of the current record so far; set to 0 where a record begins."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        """Return the next line, with its line ending.

        :raises RecordTooLong: the line was skipped, since the record would grow too long
        """
        line = self._read(MAX_RECORD_BYTES)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            line = line.removeprefix(BOM_UTF8)
        if not line.endswith(b"\n") and self.offset < self.size:
            self._skip_line()
            self.held = MAX_RECORD_BYTES
        self.held += len(line)
        if self.held > MAX_RECORD_BYTES:
            raise RecordTooLong
        return line

    def _skip_line(self) -> None:
        while (rest := self._read(1024 * 1024)) and not rest.endswith(b"\n"):
            pass

    def _read(self, limit: int) -> bytes:
        data = self.file.readline(min(limit, self.size - self.offset))
        self.offset += len(data)
        return data
