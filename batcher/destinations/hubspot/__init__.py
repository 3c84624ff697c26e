"""HubSpot's CRM, directly."""

from batcher.destinations.hubspot.destination import HubSpot

__all__ = ["HubSpot"]
