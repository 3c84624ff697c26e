"""The Write API as a server: an ASGI app over any destination. Needs the extra ``server``."""

from __future__ import annotations

from batcher._extras import needed_by

with needed_by("batcher.server", "server", "starlette", "prometheus_client"):
    from batcher.server._app import write_api
from batcher.server._requests import Installation

__all__ = ["Installation", "write_api"]
