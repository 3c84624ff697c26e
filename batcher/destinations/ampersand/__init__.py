"""Salesforce, HubSpot and others, through Ampersand's Write API."""

from batcher.destinations.ampersand.destination import Ampersand
from batcher.destinations.ampersand.operations import Operation

__all__ = ["Ampersand", "Operation"]
