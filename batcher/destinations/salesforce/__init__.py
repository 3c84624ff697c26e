"""Salesforce, by sObject Collections of its REST API."""

from batcher.destinations.salesforce.destination import ApiUsage, Salesforce

__all__ = ["ApiUsage", "Salesforce"]
