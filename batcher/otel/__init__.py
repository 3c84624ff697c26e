"""The bridge to OpenTelemetry: metrics, and a span per batch. Needs the extra ``otel``."""

from __future__ import annotations

try:
    from batcher.otel._bridge import OpenTelemetry
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ModuleNotFoundError(
        "batcher.otel needs the extra 'otel': pip install 'saas-batcher[otel]', or '.[otel]' in a clone",
        name=error.name,
    ) from error

__all__ = ["OpenTelemetry"]
