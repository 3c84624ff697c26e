"""The one exception of the command, a sentence for a person; exit codes; and the checks that several commands make."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

from batcher._extras import missing

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
        raise CommandError(missing(what, extra))


def require_server(what: str = "this command") -> None:
    """Let a command pass that listens, or whose demo does.

    :raises CommandError: the extra ``server`` is missing, or a part of it
    """
    require("server", "starlette", "uvicorn", "prometheus_client", what=what)


@contextmanager
def refusing(*kinds: type[Exception], whose: str = "") -> Iterator[None]:
    """Raise errors of *kinds* as a CommandError: in their own words, behind *whose* they are."""
    try:
        yield
    except kinds as error:
        raise CommandError(f"{whose}{error}") from None


def first_of(group: BaseExceptionGroup[E]) -> E:
    """Return the first exception of a task group, out of however many groups."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error


def object_and_field(option: str, given: str) -> tuple[str, str]:
    """Return both parts of ``OBJECT.FIELD``.

    :raises CommandError: one is missing
    """
    target, _, field = given.partition(".")
    if not target or not field:
        raise CommandError(f"{option} must be OBJECT.FIELD, such as contacts.email, not {given!r}")
    return target, field


def check_port(port: int) -> None:
    """Let a port pass that there can be; 0 picks one.

    :raises CommandError: there cannot
    """
    if not 0 <= port <= 65_535:
        raise CommandError(f"--port must be from 0 to 65535, not {port}")
