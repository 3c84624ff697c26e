"""Values of attributes, bounded: each distinct one costs memory here, and money in whatever collects them."""

from __future__ import annotations


class Labels:
    """So many distinct values; those that come later share one.

    :param most: how many
    :param rest: what the later ones become
    """

    def __init__(self, most: int, rest: str) -> None:
        self._most = most
        self._rest = rest
        self._known: set[str] = set()

    def bounded(self, value: str) -> str:
        """Return *value*, or what stands for it and all others that came too late."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return self._rest
            self._known.add(value)
        return value
