"""Salesforce, HubSpot and others, through Ampersand's Write API."""

from batcher.destinations.ampersand.destination import Ampersand, Operation

__all__ = ["Ampersand", "Operation"]
