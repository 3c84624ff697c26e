"""Tenants: who shares calls and places with whom, and in what proportion, when there is not enough for all."""

from __future__ import annotations

from collections.abc import Hashable


class Tenant:
    """Some lanes with a weight."""

    __slots__ = ("lanes", "name", "pending", "weight")

    def __init__(self, name: Hashable, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.lanes = 0
        self.pending = 0  # records

    @property
    def share(self) -> float:
        """What it holds of the places, for its weight."""
        return self.pending / self.weight
