"""What ``--to`` names: destinations, not entered yet. The same for all commands that write."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs

from batcher.cli._errors import CommandError
from batcher.cli.destinations import providers, sqlite
from batcher.cli.destinations.credentials import add_credentials_argument

if TYPE_CHECKING:
    from batcher.destinations import Destination


@attrs.frozen
class Kind:
    """One kind of destination."""

    place: str
    """What stands behind the colon, as in the help; nothing if there is no colon."""
    arguments: tuple[str, ...]
    """What belongs to this kind, and to no other that does not name it too."""
    make: Callable[[argparse.Namespace, str], tuple[Destination, str]]
    """Returns the destination at a place, and its name in full, which holds no secret."""


Kinds: TypeAlias = Mapping[str, Kind]

_PROVIDERS: Kinds = {
    "hubspot": Kind("", providers.HUBSPOT_ARGUMENTS, providers.hubspot),
    "salesforce": Kind("ADDRESS", providers.SALESFORCE_ARGUMENTS, providers.salesforce),
}
FOR_A_FILE: Kinds = {
    "sqlite": Kind("PATH", sqlite.ARGUMENTS, sqlite.one_object),
    "ampersand": Kind("PROJECT/INTEGRATION", providers.AMPERSAND_ARGUMENTS, providers.ampersand),
    **_PROVIDERS,
}
"""Of ``batcher load``, which writes one object."""
FOR_A_SERVER: Kinds = {"sqlite": Kind("PATH", sqlite.ARGUMENTS, sqlite.any_object), **_PROVIDERS}
"""Of ``batcher serve``, which writes any object."""


def add_destination_arguments(parser: argparse.ArgumentParser, kinds: Kinds, *, default: str | None = None) -> None:
    """Declare ``--to`` and what belongs to some kinds of destinations only.

    :param default: of ``--to``; it is required if there is none
    """
    what = f"where to write: {_forms(kinds)}" + (f" (default: {default})" if default else "")
    parser.add_argument("--to", required=default is None, default=default, metavar="PLACE", help=what)
    sqlite.add_arguments(parser, "FIELD" if kinds is FOR_A_FILE else "OBJECT.FIELD")
    if "ampersand" in kinds:
        providers.add_ampersand_arguments(parser)
    servers = " or ".join(name for name, kind in kinds.items() if "base_url" in kind.arguments)
    parser.add_argument("--base-url", metavar="URL", help=f"{servers}: another server than the real one")
    add_credentials_argument(parser)


def destination_of(arguments: argparse.Namespace, kinds: Kinds) -> tuple[Destination, str]:
    """Return the destination that ``--to`` names, and its name in full, which holds no secret.

    :raises CommandError: it names none, or the other arguments do not go with it
    """
    name, _, place = arguments.to.partition(":")
    kind = kinds.get(name)
    if kind is None or bool(place) != bool(kind.place):
        # What stands behind a kind without a place is perhaps a secret.
        given = f"{name}:..." if kind is not None and place else arguments.to
        raise CommandError(f"--to must be {_forms(kinds)}, not {given!r}")
    for argument in dict.fromkeys(argument for each in kinds.values() for argument in each.arguments):
        if argument not in kind.arguments and getattr(arguments, argument):
            owners = " or ".join(_form(name, kind) for name, kind in kinds.items() if argument in kind.arguments)
            raise CommandError(f"--{argument.replace('_', '-')} belongs to --to {owners}, not to {name}")
    return kind.make(arguments, place)


def _form(name: str, kind: Kind) -> str:
    return f"{name}:{kind.place}" if kind.place else name


def _forms(kinds: Kinds) -> str:
    *most, last = (_form(name, kind) for name, kind in kinds.items())
    return f"{', '.join(most)} or {last}"
