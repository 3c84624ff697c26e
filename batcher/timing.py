"""Where the time of one record went."""

from __future__ import annotations

import attrs

from batcher.events import FlushReason


@attrs.frozen(kw_only=True)
class Timing:
    """What happened to one record since it was accepted. All times are in seconds; they add up to ``total``.

    :param batches: numbers of the batches that it left in, in order, as in :attr:`Event.batch`; questions about it
        included
    :param reason: why the last of them left
    :param identity: waiting for earlier writes of the same record
    :param window: waiting for company, until its batch was due
    :param quota: its batch was due, and a quota had no room for the call
    :param pause: its batch was due, and the provider had asked to wait
    :param breaker: its batch was due, and one record was trying whether the circuit breaker may be closed
    :param slot: its batch was due, and all the calls were out that may be; or others had their turn
    :param retry: waiting for another try
    :param service: in calls
    """

    batches: tuple[int, ...] = ()
    reason: FlushReason | None = None
    identity: float = 0.0
    window: float = 0.0
    quota: float = 0.0
    pause: float = 0.0
    breaker: float = 0.0
    slot: float = 0.0
    retry: float = 0.0
    service: float = 0.0

    @property
    def total(self) -> float:
        """From acceptance to the outcome."""
        waited = self.identity + self.window + self.quota + self.pause + self.breaker + self.slot + self.retry
        return waited + self.service
