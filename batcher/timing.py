"""Where the time of one record went."""

from __future__ import annotations

import attrs

from batcher.events import FlushReason


@attrs.frozen(kw_only=True)
class Timing:
    """What happened to one record since it was accepted. All times are in seconds; they add up to ``total``."""

    batches: tuple[int, ...] = ()
    """Numbers of the batches that it left in, in order, as in :attr:`Event.batch`; questions about it included."""
    reason: FlushReason | None = None
    """Why the last of them left."""
    identity: float = 0.0
    """Waiting for earlier writes of the same record."""
    window: float = 0.0
    """Waiting for company, until its batch was due."""
    quota: float = 0.0
    """Its batch was due, and a quota had no room for the call."""
    pause: float = 0.0
    """Its batch was due, and the provider had asked to wait."""
    breaker: float = 0.0
    """Its batch was due, and one record was trying whether the circuit breaker may be closed."""
    slot: float = 0.0
    """Its batch was due, and all the calls were out that may be; or others had their turn."""
    retry: float = 0.0
    """Waiting for another try."""
    service: float = 0.0
    """In calls."""

    @property
    def total(self) -> float:
        """From acceptance to the outcome."""
        waited = self.identity + self.window + self.quota + self.pause + self.breaker + self.slot + self.retry
        return waited + self.service
