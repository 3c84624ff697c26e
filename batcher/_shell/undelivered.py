"""What is not written, and who sees it: the records that nobody awaits when they settle go to ``on_undelivered``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias

from batcher._core.model.entries import NOT_ACCEPTED, Entry
from batcher._shell.complaints import Complaints
from batcher._shell.hooks import call_guarded
from batcher._shell.waiting import has_reader, is_forsaken
from batcher.outcomes import Accepted, NotWritten, Outcome, Unknown, Written

OnUndelivered: TypeAlias = Callable[[Any, Outcome, int], object]
"""Called with what was submitted, its outcome, and how many calls have carried it."""

WITHDRAWN: Final = "withdrawn by its caller"
_RAISED: Final = "on_undelivered raised; the record is not affected"
_GOOD: Final = (Written, Accepted)


def as_on_undelivered(function: OnUndelivered | None) -> OnUndelivered | None:
    """Return *function*.

    :raises TypeError: it cannot be called, or only awaited
    """
    if function is None:
        return None
    if not callable(function):
        raise TypeError(
            "on_undelivered must be a function of a record, its outcome and the attempts made, "
            f"not {type(function).__name__}"
        )
    if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise TypeError(
            "on_undelivered must be a plain function, not an async one, which nobody would await: define it with "
            "'def', and have it put records where a task of yours takes them from"
        )
    return function


class Undelivered:
    """Looks at the records that are settled and not written.

    :param later: has something called at the end of the turn
    """

    def __init__(
        self, function: OnUndelivered | None, complaints: Complaints, later: Callable[[Callable[[], object]], object]
    ) -> None:
        self._function = function
        self._complaints = complaints
        self._later = later
        self._told: set[Entry] = set()  # the caller is told in another way, in this very turn

    def spare(self, entries: Iterable[Entry]) -> None:
        """The caller of *entries*, withdrawn in this turn, is told so."""
        self._told.update(entries)

    def look_at(self, settled: Iterable[Entry]) -> None:
        """Tell of those among *settled* that are not written. Before anybody is woken."""
        lost: dict[tuple[Any, ...], list[Any]] = {}
        for entry in settled:
            fate = entry.verdict
            if not issubclass(type(fate), Outcome) or isinstance(fate, _GOOD) or fate is NOT_ACCEPTED:
                continue
            if entry in self._told:
                continue
            self._note(entry, fate, lost, unseen=is_forsaken(entry) or (entry.handed_out and not has_reader(entry)))
        self._told.clear()
        self._complaints.told = None
        self._complain(lost)

    def missed(self, entry: Entry) -> None:
        """The caller of *entry* was cancelled before it saw the outcome, which is there."""
        fate = entry.verdict
        if entry.handed_out or not issubclass(type(fate), Outcome) or isinstance(fate, _GOOD) or fate is NOT_ACCEPTED:
            return
        lost: dict[tuple[Any, ...], list[Any]] = {}
        self._note(entry, fate, lost, unseen=True)
        self._complain(lost)

    def _note(self, entry: Entry, fate: Outcome, lost: dict[tuple[Any, ...], list[Any]], *, unseen: bool) -> None:
        if unseen and self._function is not None:
            attempts = entry.extras.attempts
            self._later(partial(call_guarded, self._function, _RAISED, entry.submitted, fate, attempts))
            unseen = False
        cause = getattr(fate, "cause", None)
        if isinstance(fate, (NotWritten, Unknown)):
            # Said by who withdrew it, with a call that failed, or of all that the batcher leaves behind.
            if cause in (WITHDRAWN, self._complaints.ended_by) or self._complaints.has_told(entry):
                return
        elif not unseen:
            return  # a rejection that a caller is told, or the function
        kind = (
            self._complaints.about(entry),
            type(fate),
            str(cause) if isinstance(cause, str) else type(cause),
            unseen,
        )
        lost.setdefault(kind, [entry, fate, 0, unseen])[2] += 1

    def _complain(self, lost: dict[tuple[Any, ...], list[Any]]) -> None:
        for entry, fate, count, unseen in lost.values():
            self._complaints.lost(entry, fate, count, unseen=unseen)
