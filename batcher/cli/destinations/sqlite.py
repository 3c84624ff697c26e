"""``--to sqlite:PATH``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batcher.cli._errors import CommandError, object_and_field, refusing

if TYPE_CHECKING:
    from batcher.destinations import Destination
    from batcher.destinations.sqlite import SQLite

ARGUMENTS = ("unique", "required")


def add_arguments(parser: argparse.ArgumentParser, field: str) -> None:
    """Declare what the database demands.

    :param field: how a field is named
    """
    for name, rule in (("--unique", "is already there"), ("--required", "is missing")):
        what = f"sqlite: refuse records whose {field} {rule}; may be repeated"
        parser.add_argument(name, action="append", default=[], metavar=field, help=what)


def one_object(arguments: argparse.Namespace, path: str) -> tuple[Destination, str]:
    """Return a database of one object, and its name.

    :raises CommandError: it cannot be
    """
    if path == ":memory:":
        raise CommandError("--to sqlite::memory: would be gone at the end of this command: name a file")
    place = Path(path).absolute()
    # An upsert finds its record by a field that no two records share.
    unique = [*arguments.unique, *([arguments.by] if arguments.by else [])]
    rules = {arguments.object: {"unique": unique, "required": arguments.required}}
    return _opened(str(place), rules), f"sqlite:{place}"


def any_object(arguments: argparse.Namespace, path: str) -> tuple[Destination, str]:
    """Return a database of any objects, and its name.

    :raises CommandError: it cannot be
    """
    rules: dict[str, dict[str, list[str]]] = {}
    for name in ARGUMENTS:
        for given in getattr(arguments, name):
            target, field = object_and_field(f"--{name}", given)
            rules.setdefault(target, {"unique": [], "required": []})[name].append(field)
    return _opened(path, rules), f"sqlite:{path}"


def _opened(path: str, rules: Mapping[str, Mapping[str, Sequence[str]]]) -> SQLite:
    from batcher.destinations.sqlite import SQLite, Table

    with refusing(ValueError):
        return SQLite(path, objects={target: Table(**fields) for target, fields in rules.items()})
