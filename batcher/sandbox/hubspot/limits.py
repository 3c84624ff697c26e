"""HubSpot's limits of calls: per second, per rolling ten seconds, per day."""

from __future__ import annotations

from collections import deque
from typing import Final

import anyio
import attrs

_DAY: Final = 86_400.0


@attrs.frozen(kw_only=True)
class HubSpotLimits:
    """How many calls are answered; None for any number."""

    ten_seconds: int | None = 190
    second: int | None = None
    day: int | None = 650_000


@attrs.frozen
class _Window:
    policy: str
    header: str
    most: int
    length: float
    calls: deque[float] = attrs.field(factory=deque)

    def left(self) -> int:
        while self.calls and self.calls[0] <= anyio.current_time() - self.length:
            self.calls.popleft()
        return max(0, self.most - len(self.calls))


class Meter:
    """Counts calls in the time of the event loop. Calls that are refused do not count."""

    def __init__(self, limits: HubSpotLimits) -> None:
        windows = (
            ("DAILY", "-Daily", limits.day, _DAY),
            ("SECONDLY", "-Secondly", limits.second, 1.0),
            ("TEN_SECONDLY_ROLLING", "", limits.ten_seconds, 10.0),
        )
        self._windows = [
            _Window(policy, header, most, length) for policy, header, most, length in windows if most is not None
        ]

    def exceeded(self) -> str | None:
        """Count one call; return the policy that refuses it, if one does."""
        for window in self._windows:
            if not window.left():
                return window.policy
        for window in self._windows:
            window.calls.append(anyio.current_time())
        return None

    def headers(self) -> dict[str, str]:
        """Return what every answer says of the limits."""
        said = {}
        for window in self._windows:
            name = f"X-HubSpot-RateLimit{window.header}"
            said[name if window.header else f"{name}-Max"] = str(window.most)
            if not window.header:
                said[f"{name}-Interval-Milliseconds"] = f"{window.length * 1000:.0f}"
            said[f"{name}-Remaining"] = str(window.left())
        return said
