"""The command ``batcher sandbox``."""
