"""What ends a request before anything of it is kept."""

from __future__ import annotations

from starlette.responses import Response


class Refused(Exception):
    """Ends a request; what was written in its transaction is taken back. Each provider has its own shape."""

    def to_response(self) -> Response:
        """Return the answer."""
        raise NotImplementedError
