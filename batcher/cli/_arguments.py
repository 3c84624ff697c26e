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
