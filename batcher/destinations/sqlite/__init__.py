"""A database of one's own, as a stand-in for a SaaS instance."""

from batcher.destinations.sqlite.destination import SQLite
from batcher.destinations.sqlite.tables import Table

__all__ = ["SQLite", "Table"]
