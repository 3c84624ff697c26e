"""Destinations: the places that records are written to.

Names are imported on first use, so that ``import batcher`` loads neither httpx nor sqlite3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from batcher.destinations.protocol import Destination, Prepared

if TYPE_CHECKING:
    from batcher.destinations.ampersand import Ampersand
    from batcher.destinations.http_batch import HttpBatch
    from batcher.destinations.hubspot import HubSpot
    from batcher.destinations.salesforce import Salesforce
    from batcher.destinations.sqlite import SQLite, Table

__all__ = ["Ampersand", "Destination", "HttpBatch", "HubSpot", "Prepared", "SQLite", "Salesforce", "Table"]


_HOMES = {
    "Ampersand": "ampersand",
    "HttpBatch": "http_batch",
    "HubSpot": "hubspot",
    "SQLite": "sqlite",
    "Salesforce": "salesforce",
    "Table": "sqlite",
}


if not TYPE_CHECKING:  # for a type checker, a name that is not there is an error

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
