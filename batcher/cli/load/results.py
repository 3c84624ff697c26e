"""The results file: what was promised, what was sent, what became of it. Appended to, never rewritten.

JSON Lines. The first entry is the header: which load this is. Then, in the order of events:

* ``{"sending": [2, 3, 4]}``, on disk *before* the call that carries these lines is made;
* ``{"line": 2, "outcome": "written", "applied": "yes", "id": "41"}``, once the outcome is final.

The last entry about a line holds. A mark without a later outcome means that the process died in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import attrs

from batcher.cli._errors import CommandError
from batcher.cli.load.entries import header_entry
from batcher.cli.load.history import DamagedEntry, History


def _encode(entries: Iterable[Mapping[str, Any]]) -> bytes:
    # ASCII: readable by every tool, and a lone surrogate in a provider's words cannot break it.
    return b"".join(json.dumps(entry).encode("ascii") + b"\n" for entry in entries)


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep a second load out, where the system has advisory locks; they end with the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"another load is writing to {path}: wait for it to end, or give --results") from None


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file survive a power failure; not every system can open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@attrs.define(eq=False)
class ResultsFile:
    """An open and locked results file. Its methods block; any thread may call them.

    A load that has not :meth:`begun` leaves no new file behind.
    """

    path: Path
    header: Mapping[str, Any]
    history: History
    """What the file said of each line when it was opened."""
    _file: BinaryIO
    _begun: bool = attrs.field(default=False, init=False)
    _writing: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    @classmethod
    def create(cls, path: Path, load: Mapping[str, Any], *, max_line: int) -> Self:
        """Start a new results file.

        :raises CommandError: it exists, or cannot be made
        """
        try:
            file = path.open("xb", buffering=0)
        except FileExistsError:
            raise CommandError(
                f"the results file {path} exists already: add --resume to go on with that load, or give --results"
            ) from None
        except OSError as error:
            raise CommandError(f"the results file {path} cannot be made: {error.strerror}") from None
        return cls._locked(path, load, max_line, file)

    @classmethod
    def resume(cls, path: Path, load: Mapping[str, Any], *, max_line: int) -> Self:
        """Open the results file of an earlier load, take in its history and repair its last line.

        :raises CommandError: it is missing, damaged, in use, or of another load
        """
        try:
            file = path.open("r+b", buffering=0)
        except FileNotFoundError:
            raise CommandError(f"there is no results file {path} to resume from: leave out --resume") from None
        except OSError as error:
            raise CommandError(f"the results file {path} cannot be opened: {error.strerror}") from None
        results = cls._locked(path, load, max_line, file)
        try:
            results._replay()
        except BaseException:
            file.close()
            raise
        return results

    @classmethod
    def _locked(cls, path: Path, load: Mapping[str, Any], max_line: int, file: BinaryIO) -> Self:
        try:
            _lock(file, path)
        except BaseException:
            file.close()
            raise
        return cls(path, header_entry(load), History(max_line), file)

    def _replay(self) -> None:
        whole = 0
        with self.path.open("rb") as reader:
            for number, raw in enumerate(reader, start=1):
                if not raw.endswith(b"\n"):
                    break  # torn by a crash: the call that it may have announced was not made
                self._replay_entry(number, raw)
                whole += len(raw)
        self._file.truncate(whole)
        self._file.seek(whole)
        self._begun = whole > 0

    def _replay_entry(self, number: int, raw: bytes) -> None:
        try:
            if number == 1:
                self._check_header(raw)
            else:
                self.history.replay(raw)
        except DamagedEntry as damage:
            raise CommandError(
                f"line {number} of the results file {self.path} {damage}: it is damaged, or not a results file"
            ) from None

    def _check_header(self, raw: bytes) -> None:
        try:
            found = json.loads(raw)
        except ValueError:
            raise DamagedEntry("is not JSON") from None
        if not isinstance(found, dict) or "batcher_results" not in found:
            raise DamagedEntry("is not a header")
        for name, wanted in self.header.items():
            if name == "sha256" and found.get(name) != wanted:
                raise CommandError(
                    f"{self._change_of_input(found.get('file'))} (the results file is {self.path}). "
                    "Resume with the input as it was, or start anew with --results"
                )
            if name != "file" and found.get(name) != wanted:
                raise CommandError(
                    f"the results file {self.path} belongs to another load: {name} was {found.get(name)!r} and "
                    f"is now {wanted!r}. Resume with the same input and arguments, or start anew with --results"
                )

    def _change_of_input(self, file: Any) -> str:
        name = Path(self.header["file"]).name
        if file == self.header["file"]:
            return f"{name} has changed since this load began"
        return f"{name} is not the file that this load began with, {file}"

    def begin(self) -> None:
        """Write the header, unless an earlier load did."""
        if not self._begun:
            self._begun = True
            self.append([self.header])
            self._sync()
            _sync_folder(self.path.parent)

    def mark(self, lines: Sequence[int]) -> None:
        """Say that these lines are about to be sent; on disk when this returns.

        :raises OSError: it could not be written, and the lines must not be sent
        """
        self.append([{"sending": list(lines)}])
        self._sync()

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add entries, all or none of them. They survive this process at once, the machine after :meth:`mark`.

        :raises OSError: they could not be written
        """
        data = _encode(entries)
        with self._writing:
            start = self._file.tell()
            try:
                written = 0
                while written < len(data):
                    written += self._file.write(data[written:])
            except BaseException:
                # Half an entry would make the whole file unreadable once more is appended.
                self._file.truncate(start)
                self._file.seek(start)
                raise

    def _sync(self) -> None:
        # Outside the lock: appends need not wait for the disk.
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._begun:
            self.path.unlink(missing_ok=True)
        with self._file, contextlib.suppress(OSError):  # a full disk was reported when the entry was written
            self._sync()
