"""What one load did: counts, examples, and the sentences that end it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import attrs

from batcher.cli._errors import ExitCode
from batcher.cli.load.entries import LEFT_OUT
from batcher.cli.load.in_vain import is_in_vain
from batcher.outcomes import Rejected

_SHOWN: Final = 3
"""Examples of failed lines per kind of outcome: enough to see a pattern, few enough to read."""
_LISTED: Final = 20
"""Ranges of doubtful lines to list; the results file has them all."""
_KEPT: Final = 10_000
"""Doubtful lines to make these ranges of."""
_WORDS: Final = {
    "written": "written",
    "accepted": "accepted, to be written by the service later",
    "rejected": "rejected",
    "rolled_back": "rolled back",
    "not_written": "not written",
    LEFT_OUT: LEFT_OUT,
    "unknown": "unknown: perhaps written, perhaps not",
}


@attrs.define(eq=False)
class Tally:
    """Counts of one run; memory does not grow with the file."""

    kinds: Counter[str] = attrs.field(factory=Counter, init=False)
    """Outcome kind to lines of this run; lines that a load took back are a kind of their own."""
    skipped_written: int = 0
    """Lines not sent because an earlier run wrote them."""
    skipped_unresolved: int = 0
    """Lines not sent because nobody knows whether an earlier run wrote them."""
    maybe: int = 0
    """Lines of this run that may or may not be applied, and were not refused."""
    refused_again: int = 0
    """Lines of this run that were refused, after an earlier attempt that may have been applied."""
    interrupted: bool = False
    """Whether a signal kept part of the file from being sent."""
    gave_up: bool = False
    """Whether the destination wrote nothing any more, for no record's fault."""
    read_all: bool = False
    """Whether the whole file was read, so that nothing of it is left."""
    _examples: dict[str, list[str]] = attrs.field(factory=dict, init=False)
    _maybe_lines: list[int] = attrs.field(factory=list, init=False)
    _refused_again_lines: list[int] = attrs.field(factory=list, init=False)

    @property
    def settled(self) -> int:
        """Lines of this run with an outcome."""
        return self.kinds.total()

    @property
    def failed(self) -> int:
        """Lines of this run that are not known to be written."""
        return self.settled - self.kinds["written"] - self.kinds["accepted"]

    def count(self, entry: dict[str, Any]) -> None:
        """Take in one entry of the results file."""
        kind, line, errors = entry["outcome"], entry["line"], entry.get("errors")
        if errors and errors[0]["message"] == LEFT_OUT:
            kind, errors = LEFT_OUT, None
        self.kinds[kind] += 1
        if entry["applied"] == "maybe" and kind == Rejected.kind and not is_in_vain(entry):
            self.refused_again += 1
            if len(self._refused_again_lines) < _KEPT:
                self._refused_again_lines.append(line)
        elif entry["applied"] == "maybe" and kind != "accepted":
            self.maybe += 1
            if len(self._maybe_lines) < _KEPT:
                self._maybe_lines.append(line)
        if errors:
            examples = self._examples.setdefault(kind, [])
            if len(examples) < _SHOWN:
                # One line per example, whatever the provider's words contain.
                message = " ".join(errors[0]["message"].split())
                examples.append(f"line {line}: {message[:200]}")

    @property
    def left_for_resume(self) -> bool:
        """Whether lines are left that ``--resume`` sends without being told more: those known not to be written."""
        return not self.read_all or self.failed > self.maybe + self.refused_again

    def exit_code(self) -> ExitCode:
        """Return what the shell is told."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.gave_up:
            return ExitCode.GAVE_UP
        return ExitCode.RECORDS_FAILED if self.failed or self.skipped_unresolved else ExitCode.OK

    def sentences(self, left_alone: Iterable[int]) -> Iterator[str]:
        """Return the lines of the summary.

        :param left_alone: the numbers of the lines behind ``skipped_unresolved``, in order
        """
        for kind, word in _WORDS.items():
            if self.kinds[kind] or kind == "written":
                yield f"{self.kinds[kind]:>11,}  {word}"
            for example in self._examples.get(kind, ()):
                yield f"             {example}"
        if self.skipped_written:
            yield f"{self.skipped_written:>11,}  written by an earlier run, not sent again"
        if self.skipped_unresolved:
            yield f"{self.skipped_unresolved:>11,}  left alone: an earlier run sent them, and nobody knows their fate"
        if doubtful := self.maybe + self.skipped_unresolved:
            skipped = islice(left_alone, _KEPT) if self.skipped_unresolved else ()
            lines = sorted({*skipped, *self._maybe_lines})
            yield (
                f"Perhaps written: {_ranges(lines, doubtful)}. Look whether the destination has them; "
                "--resume --resend-unknown sends them again."
            )
        if self.refused_again:
            lines = sorted(self._refused_again_lines)
            yield (
                f"Refused, but an earlier attempt may have been applied: {_ranges(lines, self.refused_again)}. Look "
                "whether the destination has them: a duplicate may be one of the record that this attempt wrote."
            )
        if self.gave_up and not self.interrupted:
            rest = "" if self.read_all else "The rest of the file was not sent. "
            way_out = "Once the destination works again, --resume goes on from here." if self.left_for_resume else ""
            yield f"Stopped: the destination wrote nothing any more, for no record's fault. {rest}{way_out}".rstrip()
        if self.interrupted:
            yield "Interrupted: the rest of the file was not sent. --resume goes on from here."


def _ranges(lines: list[int], total: int) -> str:
    """Return ascending *lines* for reading, ``"lines 2, 5-9 and 80 more"``, if there are *total* of them."""
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    shown = ranges[:_LISTED]
    left = total - sum(last - first + 1 for first, last in shown)
    words = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in shown)
    label = "line" if total == 1 else "lines"
    return f"{label} {words} and {left:,} more" if left else f"{label} {words}"


def counted(number: int, noun: str) -> str:
    """Return ``"1 record"``, ``"2,000 records"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
