"""The one exception of the command: a sentence for a person, and an exit code."""

from __future__ import annotations

import importlib.util
from enum import IntEnum
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


class ExitCode(IntEnum):
    """What the command tells the shell."""

    OK = 0
    """Everything that was asked for is done."""
    RECORDS_FAILED = 1
    """At least one record was refused, or nobody knows what became of it."""
    USAGE = 2
    """A wrong argument, or an environment that does not allow it; the same code as argparse."""
    GAVE_UP = 3
    """The destination wrote nothing any more, for no record's fault."""
    INTERRUPTED = 130
    """Stopped by a signal. 128 + SIGINT, as shells report it."""


class CommandError(Exception):
    """Ends the command. The message is a sentence: what is wrong, and the way out."""


def require(extra: str, *modules: str, what: str = "this command") -> None:
    """Let a command pass whose optional modules are installed.

    :param extra: the one that brings *modules*
    :raises CommandError: one is missing
    """
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise CommandError(
            f"{what} needs the extra {extra!r}: pip install 'saas-batcher[{extra}]', or '.[{extra}]' in a clone"
        )


def first_of(group: BaseExceptionGroup[E]) -> E:
    """Return the first exception of a task group, out of however many groups."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error
