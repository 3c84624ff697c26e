"""A database of one's own, as a stand-in for a SaaS instance."""

from batcher.destinations.sqlite.destination import SQLite, Table

__all__ = ["SQLite", "Table"]
