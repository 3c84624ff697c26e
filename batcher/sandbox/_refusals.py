"""What ends a request before anything of it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod

from starlette.responses import Response


class Refused(Exception, ABC):
    """Ends a request; what was written in its transaction is taken back. Each provider has its own shape."""

    @abstractmethod
    def to_response(self) -> Response:
        """Return the answer."""
