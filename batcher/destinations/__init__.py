"""Destinations: the places that records are written to.

Names are imported on first use, so that ``import batcher`` loads neither httpx nor sqlite3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batcher.destinations._protocol import Destination, Prepared

if TYPE_CHECKING:
    from batcher.destinations.ampersand import Ampersand
    from batcher.destinations.salesforce import Salesforce
    from batcher.destinations.sqlite import SQLite, Table

__all__ = ["Ampersand", "Destination", "Prepared", "SQLite", "Salesforce", "Table"]


def __getattr__(name: str) -> object:
    if name in ("SQLite", "Table"):
        from batcher.destinations import sqlite

        return getattr(sqlite, name)
    if name == "Ampersand":
        from batcher.destinations.ampersand import Ampersand

        return Ampersand
    if name == "Salesforce":
        from batcher.destinations.salesforce import Salesforce

        return Salesforce
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
