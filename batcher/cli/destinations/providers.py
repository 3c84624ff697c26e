"""``--to hubspot``, ``--to salesforce:ADDRESS`` and ``--to ampersand:PROJECT/INTEGRATION``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from batcher.cli._errors import CommandError, refusing
from batcher.cli.destinations.credentials import add_key_argument, read_credentials, read_keys, read_text

if TYPE_CHECKING:
    from batcher.destinations import Destination

HUBSPOT_ARGUMENTS = ("base_url", "credentials_file")
SALESFORCE_ARGUMENTS = ("credentials_file",)
AMPERSAND_ARGUMENTS = ("group_ref", "provider", "base_url", "api_key_file")
VARIABLES: Final = """\
To HubSpot: --to hubspot, and the variable HUBSPOT_TOKEN; or HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and
HUBSPOT_REFRESH_TOKEN. To Salesforce: --to salesforce:https://MyDomain.my.salesforce.com, and the variable
SALESFORCE_ACCESS_TOKEN; or SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET; or SALESFORCE_CLIENT_ID,
SALESFORCE_USERNAME and SALESFORCE_PRIVATE_KEY_FILE, with SALESFORCE_AUDIENCE if it is not https://login.salesforce.com.
--credentials-file may have them instead. To "batcher sandbox": --to hubspot --base-url http://127.0.0.1:8081, or
--to salesforce:http://127.0.0.1:8081."""

_HUBSPOT: Final = "https://api.hubapi.com"
# The variables of each way to authorize. They are named after the arguments that they become.
_HUBSPOT_WAYS: Final = (("HUBSPOT_TOKEN",), ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN"))
_KEY_FILE: Final = "SALESFORCE_PRIVATE_KEY_FILE"
_SALESFORCE_WAYS: Final = (
    ("SALESFORCE_ACCESS_TOKEN",),
    ("SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"),
    ("SALESFORCE_CLIENT_ID", "SALESFORCE_USERNAME", _KEY_FILE),
)
_AMPERSAND: Final = "https://write.withampersand.com"
_AMPERSAND_KEY: Final = "AMPERSAND_API_KEY"


def hubspot(arguments: argparse.Namespace, _: str) -> tuple[Destination, str]:
    """Return HubSpot, and its name.

    :raises CommandError: it cannot be
    """
    from batcher.destinations.hubspot import HubSpot

    given = read_credentials(arguments.credentials_file, "HubSpot", _HUBSPOT_WAYS)
    base_url = (arguments.base_url or _HUBSPOT).rstrip("/")
    with refusing(ValueError, whose="HubSpot: "):
        # The associations that follow a write take half as long again, and must not cost it its outcome.
        destination = HubSpot(**_secrets(given), **_patience(arguments, 0.6), base_url=base_url)
    return destination, f"hubspot at {base_url}"


def salesforce(arguments: argparse.Namespace, place: str) -> tuple[Destination, str]:
    """Return Salesforce, and its name.

    :raises CommandError: it cannot be
    """
    from batcher.destinations.salesforce import Salesforce

    given = read_credentials(
        arguments.credentials_file, "Salesforce", _SALESFORCE_WAYS, optional=("SALESFORCE_AUDIENCE",)
    )
    if _KEY_FILE in given:
        given["SALESFORCE_PRIVATE_KEY"] = read_text(Path(given.pop(_KEY_FILE)), "the private key")
    else:
        given.pop("SALESFORCE_AUDIENCE", None)  # of a signature, and nothing is signed
    with refusing(ValueError, ImportError, whose="Salesforce: "):
        destination = Salesforce(place, **_secrets(given), **_patience(arguments, 0.9))
    return destination, f"salesforce:{place.rstrip('/')}"


def add_ampersand_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what belongs to Ampersand only."""
    parser.add_argument("--group-ref", metavar="REF", help="ampersand: the customer whose installation is written to")
    providers = "whose answers to trust, and how; salesforce for a server of one's own"
    parser.add_argument("--provider", choices=("salesforce", "hubspot"), help=f"ampersand: {providers}")
    add_key_argument(parser, _AMPERSAND_KEY, "ampersand: your API key")


def ampersand(arguments: argparse.Namespace, place: str) -> tuple[Destination, str]:
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
    base_url = (arguments.base_url or _AMPERSAND).rstrip("/")
    keys = read_keys(arguments.api_key_file, _AMPERSAND_KEY)
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


def _secrets(given: Mapping[str, str]) -> dict[str, Any]:
    return {name.partition("_")[2].lower(): value for name, value in given.items()}


def _patience(arguments: argparse.Namespace, share: float) -> dict[str, Any]:
    """Return the timeout of a request, if the command says how long a call may take, as *share* of that."""
    whole: float | None = getattr(arguments, "call_timeout", None)
    return {} if whole is None else {"timeout": whole * share}
