"""The one exception of the command: a sentence for a person, and an exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command tells the shell."""

    OK = 0
    """Everything that was asked for is done."""
    RECORDS_FAILED = 1
    """At least one record was refused, or nobody knows what became of it."""
    USAGE = 2
    """A wrong argument, or an environment that does not allow it; the same code as argparse."""
    INTERRUPTED = 130
    """Stopped by a signal. 128 + SIGINT, as shells report it."""


class CommandError(Exception):
    """Ends the command. The message is a sentence: what is wrong, and the way out."""
