"""A stand-in for a Salesforce org."""

from batcher.sandbox.salesforce.app import SalesforceSandbox

__all__ = ["SalesforceSandbox"]
