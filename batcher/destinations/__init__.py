"""Destinations: the places that records are written to.

Names are imported on first use, so that ``import batcher`` loads neither httpx nor sqlite3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batcher.destinations._protocol import Destination, Prepared

if TYPE_CHECKING:
    from batcher.destinations.ampersand import Ampersand
    from batcher.destinations.hubspot import HubSpot
    from batcher.destinations.sqlite import SQLite, Table

__all__ = ["Ampersand", "Destination", "HubSpot", "Prepared", "SQLite", "Table"]


def __getattr__(name: str) -> object:
    if name in ("SQLite", "Table"):
        from batcher.destinations import sqlite

        return getattr(sqlite, name)
    if name == "Ampersand":
        from batcher.destinations.ampersand import Ampersand

        return Ampersand
    if name == "HubSpot":
        from batcher.destinations.hubspot import HubSpot

        return HubSpot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
