"""Values of arguments that several commands take."""

from __future__ import annotations

from batcher.cli._errors import CommandError


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
