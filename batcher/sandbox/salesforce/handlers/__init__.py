"""Salesforce's requests: from HTTP to collections, records and queries, and back."""
