"""Salesforce, HubSpot and others, through Ampersand's Write API."""

from batcher.destinations.ampersand.answers import Operation
from batcher.destinations.ampersand.destination import Ampersand

__all__ = ["Ampersand", "Operation"]
