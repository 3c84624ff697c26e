"""``--to hubspot`` and ``--to salesforce:ADDRESS``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batcher.cli._errors import refusing
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
# The variables of each way to authorize. They are named after the arguments that they become.
_HUBSPOT_WAYS: Final = (
    ("HUBSPOT_TOKEN",),
    ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN"),
)
_KEY_FILE: Final = "SALESFORCE_PRIVATE_KEY_FILE"
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


def _secrets(given: Mapping[str, str]) -> dict[str, Any]:
    return {name.partition("_")[2].lower(): value for name, value in given.items()}


def _patience(arguments: argparse.Namespace, share: float) -> dict[str, Any]:
    """Return the timeout of a request, if the command says how long a call may take, as *share* of that."""
    whole: float | None = getattr(arguments, "call_timeout", None)
    return {} if whole is None else {"timeout": whole * share}
