"""Salesforce, by sObject Collections of its REST API."""

from batcher.destinations.salesforce.answers import ApiUsage
from batcher.destinations.salesforce.destination import Salesforce

__all__ = ["ApiUsage", "Salesforce"]
