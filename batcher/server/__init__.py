"""The Write API as a server: an ASGI app over any destination. Needs the extra ``server``."""

from __future__ import annotations

try:
    from batcher.server._app import write_api
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "prometheus_client"):
        raise
    raise ModuleNotFoundError(
        "batcher.server needs the extra 'server': pip install 'saas-batcher[server]', or '.[server]' in a clone",
        name=error.name,
    ) from error
from batcher.server._requests import Installation

__all__ = ["Installation", "write_api"]
