"""What a server allows."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from batcher.server._problems import Problem
from batcher.server._requests import Installation, WriteRequest
from batcher.writes import WriteType


@attrs.frozen(kw_only=True)
class Rules:
    """What this server allows, and for how long it waits and remembers."""

    deletion_enabled: Collection[str]
    """Objects whose records may be deleted."""
    installations: Collection[Installation] | None
    """Whose records may be written; None for everybody's. All go to the one destination."""
    synchronous_deadline: float
    """Seconds for which a synchronous write is sent and tried again."""
    keep_for: float
    """Seconds for which an ended operation can be read."""
    keep_records: int
    """Records of ended operations that are kept at most."""

    def check(self, request: WriteRequest) -> None:
        """Let a request pass that is allowed.

        :raises Problem: it is not
        """
        if self.installations is not None and request.installation not in self.installations:
            raise Problem(404, "no such installation", "check the project, the integration and the groupRef")
        if request.type is WriteType.DELETE and request.object not in self.deletion_enabled:
            raise Problem(
                403,
                "deletion is not enabled for this object",
                "name the object where the server is started: batcher serve --allow-delete, or deletion_enabled=",
            )
