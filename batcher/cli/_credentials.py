"""API keys from a file or the environment. Never from the arguments: every user of the machine can read those."""

from __future__ import annotations

import argparse
import os
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
    """Return the keys, at least one. No message shows any.

    :raises CommandError: there is none, or the file cannot be read
    """
    if file is None:
        key = os.environ.get(variable, "").strip()
        if not key:
            raise CommandError(f"there is no API key: set the variable {variable}, or give --api-key-file FILE")
        return [key]
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise CommandError(f"the file of API keys {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"the file of API keys {file} is not UTF-8") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise CommandError(f"the file of API keys {file} holds none: write one key per line")
    return keys
