"""The command ``batcher serve``."""
