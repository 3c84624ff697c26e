"""Keys and credentials, from files or the environment. Never from the arguments: every user of the machine reads those.

No message shows a value.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from batcher.cli._errors import CommandError


def add_key_argument(parser: argparse.ArgumentParser, variable: str, keys: str) -> None:
    """Declare ``--api-key-file``.

    :param variable: of the environment, read where no file is given
    :param keys: what the file holds, in words
    """
    what = f"a file with {keys}; lines that begin with # are comments (default: the variable {variable})"
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help=what)


def read_keys(file: Path | None, variable: str) -> list[str]:
    """Return the keys, at least one.

    :raises CommandError: there is none, or the file cannot be read
    """
    if file is None:
        key = os.environ.get(variable, "").strip()
        if not key:
            raise CommandError(f"there is no API key: set the variable {variable}, or give --api-key-file FILE")
        return [key]
    keys = [line for _, line in _lines(file, "the file of API keys")]
    if not keys:
        raise CommandError(f"the file of API keys {file} holds none: write one key per line")
    return keys


def add_credentials_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--credentials-file``."""
    what = "a file with a line NAME=VALUE for each variable; # begins a comment (default: the environment)"
    parser.add_argument("--credentials-file", type=Path, metavar="FILE", help=f"hubspot, salesforce: {what}")


def read_credentials(
    file: Path | None, provider: str, ways: Sequence[Sequence[str]], optional: Collection[str] = ()
) -> dict[str, str]:
    """Return the variables of the way to authorize that is given in full, and those of *optional* that are there.

    :param file: read instead of the environment, not besides it
    :param ways: of each way its variables
    :raises CommandError: no way is given in full, or more than one, or the file cannot be read
    """
    found, place = (os.environ, "the environment") if file is None else (_variables(file), str(file))
    names = dict.fromkeys(name for way in ways for name in way)
    given = {name: value for name in names if (value := found.get(name, "").strip())}
    if any(given.keys() == set(way) for way in ways):
        return given | {name: found[name].strip() for name in optional if found.get(name, "").strip()}
    possible = [way for way in ways if given.keys() <= set(way)]
    if not possible:
        raise CommandError(
            f"credentials for {provider} in {place} that do not go together: {_listed(list(given))}. "
            f"Keep {_either(ways)}"
        )
    if given:
        missing = [[name for name in way if name not in given] for way in possible]
        raise CommandError(f"{place} has {_listed(list(given))} for {provider}, but not {_either(missing)}")
    otherwise = ", or give --credentials-file FILE" if file is None else ""
    raise CommandError(f"there are no credentials for {provider} in {place}: set {_either(ways)}{otherwise}")


def read_text(file: Path, what: str) -> str:
    """Return what a file holds.

    :param what: that is, in words
    :raises CommandError: it cannot be read
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{what} {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{what} {file} is not UTF-8") from None


def _lines(file: Path, what: str) -> list[tuple[int, str]]:
    """Return the lines that are neither empty nor comments, with their numbers."""
    lines = [line.strip() for line in read_text(file, what).splitlines()]
    return [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]


def _variables(file: Path) -> Mapping[str, str]:
    what = "the file of credentials"
    variables: dict[str, str] = {}
    for number, line in _lines(file, what):
        name, separator, value = line.partition("=")
        if not separator:
            raise CommandError(f"{what} {file}: line {number} must be NAME=VALUE")
        value = value.strip()
        is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        variables[name.strip()] = value[1:-1] if is_quoted else value
    return variables


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _either(lists: Sequence[Sequence[str]]) -> str:
    return "; or ".join(map(_listed, lists))
