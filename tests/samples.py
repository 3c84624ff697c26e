"""How many examples a property is tested with."""

from __future__ import annotations

import os


def examples(few: int) -> int:
    """Return *few*, as the default run has them; with ``BATCHER_SOAK=5000`` in the environment, that many instead."""
    return int(os.environ.get("BATCHER_SOAK", "0")) or few
