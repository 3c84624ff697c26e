"""The command ``batcher demo``."""
