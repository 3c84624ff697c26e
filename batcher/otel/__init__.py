"""The bridge to OpenTelemetry: metrics, and a span per batch. Needs the extra ``otel``."""

from __future__ import annotations

from batcher._extras import needed_by

with needed_by("batcher.otel", "otel", "opentelemetry"):
    from batcher.otel._bridge import OpenTelemetry

__all__ = ["OpenTelemetry"]
