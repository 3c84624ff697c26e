"""``--to hubspot`` and ``--to salesforce:ADDRESS``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batcher.cli._errors import CommandError
from batcher.cli.destinations.credentials import read_credentials, read_text

if TYPE_CHECKING:
    from batcher.destinations import Destination

HUBSPOT_ARGUMENTS = ("base_url", "credentials_file")
SALESFORCE_ARGUMENTS = ("credentials_file",)
VARIABLES: Final = """\
To HubSpot: --to hubspot, and the variable HUBSPOT_TOKEN; or HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and
HUBSPOT_REFRESH_TOKEN. To Salesforce: --to salesforce:https://MyDomain.my.salesforce.com, and the variable
SALESFORCE_ACCESS_TOKEN; or SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET; or SALESFORCE_CLIENT_ID,
SALESFORCE_USERNAME and SALESFORCE_PRIVATE_KEY_FILE, with SALESFORCE_AUDIENCE if it is not https://login.salesforce.com.
--credentials-file may have them instead. To "batcher sandbox": --to hubspot --base-url http://127.0.0.1:8081, or
--to salesforce:http://127.0.0.1:8081."""

_HUBSPOT: Final = "https://api.hubapi.com"
# Of each way to authorize: the variables, and the arguments that they become.
_HUBSPOT_NAMES: Final = {
    "HUBSPOT_TOKEN": "token",
    "HUBSPOT_CLIENT_ID": "client_id",
    "HUBSPOT_CLIENT_SECRET": "client_secret",
    "HUBSPOT_REFRESH_TOKEN": "refresh_token",
}
_HUBSPOT_WAYS: Final = (
    ("HUBSPOT_TOKEN",),
    ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN"),
)
_KEY_FILE: Final = "SALESFORCE_PRIVATE_KEY_FILE"
_SALESFORCE_NAMES: Final = {
    "SALESFORCE_ACCESS_TOKEN": "access_token",
    "SALESFORCE_CLIENT_ID": "client_id",
    "SALESFORCE_CLIENT_SECRET": "client_secret",
    "SALESFORCE_USERNAME": "username",
    "SALESFORCE_AUDIENCE": "audience",
    _KEY_FILE: "private_key",
}
_SALESFORCE_WAYS: Final = (
    ("SALESFORCE_ACCESS_TOKEN",),
    ("SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"),
    ("SALESFORCE_CLIENT_ID", "SALESFORCE_USERNAME", _KEY_FILE),
)


def hubspot(arguments: argparse.Namespace, _: str) -> tuple[Destination, str]:
    """Return HubSpot, and its name.

    :raises CommandError: it cannot be
    """
    from batcher.destinations.hubspot import HubSpot

    given = read_credentials(arguments.credentials_file, "HubSpot", _HUBSPOT_WAYS)
    secrets: dict[str, Any] = {_HUBSPOT_NAMES[name]: value for name, value in given.items()}
    base_url = (arguments.base_url or _HUBSPOT).rstrip("/")
    try:
        # The associations that follow a write take half as long again, and must not cost it its outcome.
        destination = HubSpot(**secrets, **_patience(arguments, 0.6), base_url=base_url)
    except ValueError as error:
        raise CommandError(f"HubSpot: {error}") from None
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
        given[_KEY_FILE] = read_text(Path(given[_KEY_FILE]), "the private key")
    else:
        given.pop("SALESFORCE_AUDIENCE", None)  # of a signature, and nothing is signed
    secrets: dict[str, Any] = {_SALESFORCE_NAMES[name]: value for name, value in given.items()}
    try:
        destination = Salesforce(place, **secrets, **_patience(arguments, 0.9))
    except (ValueError, ImportError) as error:
        raise CommandError(f"Salesforce: {error}") from None
    return destination, f"salesforce:{place.rstrip('/')}"


def _patience(arguments: argparse.Namespace, share: float) -> dict[str, Any]:
    """Return the timeout of a request, if the command says how long a call may take, as *share* of that."""
    whole: float | None = getattr(arguments, "call_timeout", None)
    return {} if whole is None else {"timeout": whole * share}
