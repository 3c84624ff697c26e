"""A stand-in for HubSpot's CRM."""

from batcher.sandbox.hubspot.app import HubSpotSandbox

__all__ = ["HubSpotSandbox"]
