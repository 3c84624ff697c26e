"""HubSpot's requests: from HTTP to batches and records, and back."""
