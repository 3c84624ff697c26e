"""The command ``batcher load``."""
