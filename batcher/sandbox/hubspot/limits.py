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


class Meter:
    """Counts calls in the time of the event loop. Calls that are refused do not count."""

    def __init__(self, limits: HubSpotLimits) -> None:
        windows = (
            ("DAILY", limits.day, _DAY),
            ("SECONDLY", limits.second, 1.0),
            ("TEN_SECONDLY_ROLLING", limits.ten_seconds, 10.0),
        )
        self._windows = [(policy, most, length) for policy, most, length in windows if most is not None]
        self._calls: dict[str, deque[float]] = {policy: deque() for policy, _, _ in self._windows}

    def exceeded(self) -> str | None:
        """Count one call; return the policy that refuses it, if one does."""
        now = anyio.current_time()
        for policy, most, _ in self._windows:
            if self._used(policy) >= most:
                return policy
        for calls in self._calls.values():
            calls.append(now)
        return None

    def headers(self) -> dict[str, str]:
        """Return what every answer says of the limits."""
        said = {}
        for policy, most, length in self._windows:
            part = {"DAILY": "-Daily", "SECONDLY": "-Secondly"}.get(policy, "")
            left = max(0, most - self._used(policy))
            if part:
                said[f"X-HubSpot-RateLimit{part}"] = str(most)
            else:
                said["X-HubSpot-RateLimit-Max"] = str(most)
                said["X-HubSpot-RateLimit-Interval-Milliseconds"] = f"{length * 1000:.0f}"
            said[f"X-HubSpot-RateLimit{part}-Remaining"] = str(left)
        return said

    def _used(self, policy: str) -> int:
        calls = self._calls[policy]
        length = next(length for name, _, length in self._windows if name == policy)
        while calls and calls[0] <= anyio.current_time() - length:
            calls.popleft()
        return len(calls)
