"""What ``--to`` names: destinations, not entered yet."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from batcher.cli._api_keys import add_key_argument, read_keys
from batcher.cli._errors import CommandError

if TYPE_CHECKING:
    from batcher.destinations import Destination
    from batcher.destinations.sqlite import SQLite, Table

_KEY_VARIABLE: Final = "AMPERSAND_API_KEY"
_HOSTED: Final = "https://write.withampersand.com"


def add_destination_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--to`` and what belongs to one kind of destination only."""
    places = "sqlite:PATH or ampersand:PROJECT/INTEGRATION; percent-encode a slash within a name"
    parser.add_argument("--to", required=True, metavar="PLACE", help=f"where to write: {places}")
    for name, rule in (("--unique", "whose FIELD is already there"), ("--required", "without FIELD")):
        what = f"sqlite: refuse records {rule}; may be repeated"
        parser.add_argument(name, action="append", default=[], metavar="FIELD", help=what)
    parser.add_argument("--group-ref", metavar="REF", help="ampersand: the customer whose installation is written to")
    providers = "whose answers to trust, and how; salesforce for a server of one's own"
    parser.add_argument("--provider", choices=("salesforce", "hubspot"), help=f"ampersand: {providers}")
    server = f"ampersand: the server of the Write API (default: {_HOSTED})"
    parser.add_argument("--base-url", metavar="URL", help=server)
    add_key_argument(parser, _KEY_VARIABLE, "ampersand: your API key")


def destination_of(arguments: argparse.Namespace) -> tuple[Destination, str]:
    """Return the destination that ``--to`` names, and its name in full, which holds no secret.

    :raises CommandError: it names none, or the other arguments do not go with it
    """
    kind, _, place = arguments.to.partition(":")
    if kind == "sqlite" and place:
        return _sqlite(arguments, place)
    if kind == "ampersand" and place:
        return _ampersand(arguments, place)
    raise CommandError(f"--to must be sqlite:PATH or ampersand:PROJECT/INTEGRATION, not {arguments.to!r}")


def open_sqlite(path: str, tables: Mapping[str, Table]) -> SQLite:
    """Return the database at *path*.

    :raises CommandError: a name that cannot be a table
    """
    from batcher.destinations.sqlite import SQLite

    try:
        return SQLite(path, objects=tables)
    except ValueError as error:
        raise CommandError(str(error)) from None


def table(unique: list[str], required: list[str]) -> Table:
    """Return what the database demands of an object.

    :raises CommandError: a field that it cannot demand
    """
    from batcher.destinations.sqlite import Table

    try:
        return Table(unique=unique, required=required)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _sqlite(arguments: argparse.Namespace, place: str) -> tuple[Destination, str]:
    _refuse(arguments, "ampersand", "group_ref", "provider", "base_url", "api_key_file")
    if place == ":memory:":
        raise CommandError("--to sqlite::memory: would be gone at the end of this command: name a file")
    path = Path(place).absolute()
    # An upsert finds its record by a field that no two records share.
    unique = [*arguments.unique, *([arguments.by] if arguments.by else [])]
    tables = {arguments.object: table(unique, arguments.required)}
    return open_sqlite(str(path), tables), f"sqlite:{path}"


def _ampersand(arguments: argparse.Namespace, place: str) -> tuple[Destination, str]:
    from batcher.destinations.ampersand import Ampersand

    _refuse(arguments, "sqlite", "unique", "required")
    if arguments.type == "upsert":
        raise CommandError("--type upsert: the Write API has none; create or update the records, or --to sqlite:PATH")
    names = place.split("/")
    if len(names) != 2 or not all(names):
        raise CommandError(f"--to must be ampersand:PROJECT/INTEGRATION, not {arguments.to!r}")
    if not arguments.group_ref:
        raise CommandError("--to ampersand:... needs --group-ref REF, the customer whose installation is written to")
    project, integration = map(unquote, names)
    base_url = (arguments.base_url or _HOSTED).rstrip("/")
    keys = read_keys(arguments.api_key_file, _KEY_VARIABLE)
    if len(keys) > 1:
        raise CommandError(f"the file of API keys {arguments.api_key_file} holds {len(keys)}: keep the one to send")
    try:
        destination = Ampersand(
            project,
            integration,
            api_key=keys[0],
            group_ref=arguments.group_ref,
            provider=arguments.provider,
            base_url=base_url,
            platform_url=base_url,
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    return destination, f"ampersand:{place} of {arguments.group_ref!r} at {base_url}"


def _refuse(arguments: argparse.Namespace, kind: str, *names: str) -> None:
    for name in names:
        if getattr(arguments, name):
            raise CommandError(f"--{name.replace('_', '-')} belongs to --to {kind}:..., not to {arguments.to!r}")
