"""What a results file says of each line of the input: one byte per line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from batcher.outcomes import Applied

# The state of one line. The last entry about a line holds.
_ABSENT: Final = 0
_WRITTEN: Final = 1
_NOT_WRITTEN: Final = 2
_MAYBE: Final = 3
_SENDING: Final = 4

_STATE_OF: Final[dict[Applied, int]] = {"yes": _WRITTEN, "no": _NOT_WRITTEN, "maybe": _MAYBE}
_UNRESOLVED: Final = re.compile(b"[\3\4]")


class DamagedEntry(ValueError):
    """An entry of a results file that this version cannot have written. The message says why."""


@attrs.define(eq=False)
class History:
    """The fate of each line so far.

    :param max_line: no input line has a higher number; guards memory against a damaged file
    """

    max_line: int
    _states: bytearray = attrs.field(factory=bytearray, init=False, repr=False)

    @property
    def written(self) -> int:
        """Number of lines that the destination holds."""
        return self._states.count(_WRITTEN)

    def is_written(self, line: int) -> bool:
        """Whether the destination holds it."""
        return self._state(line) == _WRITTEN

    def is_unresolved(self, line: int) -> bool:
        """Whether an attempt was made that nobody knows the end of."""
        return self._state(line) in (_MAYBE, _SENDING)

    def unresolved(self) -> Iterator[int]:
        """Return the numbers of the unresolved lines, in order."""
        return (found.start() for found in _UNRESOLVED.finditer(self._states))

    def replay(self, raw: bytes) -> None:
        """Take in one entry of a results file.

        :raises DamagedEntry: it is not an entry; nothing was taken in
        """
        try:
            entry = json.loads(raw)
        except ValueError:
            raise DamagedEntry("is not JSON") from None
        if not isinstance(entry, dict):
            raise DamagedEntry("is not an object")
        if "sending" in entry:
            lines = entry["sending"]
            if not isinstance(lines, list):
                raise DamagedEntry("marks no list of lines")
            for line in lines:
                self._set(line, _SENDING)
        elif entry.get("applied") in ("yes", "no", "maybe"):
            self._set(entry.get("line"), _STATE_OF[entry["applied"]])
        else:
            raise DamagedEntry("says neither 'sending' nor whether a line was 'applied'")

    def _state(self, line: int) -> int:
        return self._states[line] if line < len(self._states) else _ABSENT

    def _set(self, line: Any, state: int) -> None:
        if not isinstance(line, int) or not 1 <= line <= self.max_line:
            raise DamagedEntry(f"names a line that the input does not have: {line!r}")
        if line >= len(self._states):
            self._states.extend(bytes(line + 1 - len(self._states)))
        self._states[line] = state
