"""``--to ampersand:PROJECT/INTEGRATION``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from batcher.cli._errors import CommandError, refusing
from batcher.cli.destinations.credentials import add_key_argument, read_keys

if TYPE_CHECKING:
    from batcher.destinations import Destination

ARGUMENTS = ("group_ref", "provider", "base_url", "api_key_file")
_KEY_VARIABLE: Final = "AMPERSAND_API_KEY"
_HOSTED: Final = "https://write.withampersand.com"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what belongs to Ampersand only."""
    parser.add_argument("--group-ref", metavar="REF", help="ampersand: the customer whose installation is written to")
    providers = "whose answers to trust, and how; salesforce for a server of one's own"
    parser.add_argument("--provider", choices=("salesforce", "hubspot"), help=f"ampersand: {providers}")
    add_key_argument(parser, _KEY_VARIABLE, "ampersand: your API key")


def make(arguments: argparse.Namespace, place: str) -> tuple[Destination, str]:
    """Return the Write API, and its name.

    :raises CommandError: it cannot be
    """
    from batcher.destinations.ampersand import Ampersand

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
    with refusing(ValueError):
        destination = Ampersand(
            project,
            integration,
            api_key=keys[0],
            group_ref=arguments.group_ref,
            provider=arguments.provider,
            base_url=base_url,
            platform_url=base_url,
        )
    return destination, f"ampersand:{place} of {arguments.group_ref!r} at {base_url}"
