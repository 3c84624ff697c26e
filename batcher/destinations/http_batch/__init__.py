"""Any other batch endpoint, from two small functions."""

from batcher.destinations.http_batch.destination import (
    Answer,
    Call,
    HttpBatch,
    Item,
    Request,
    all_but,
    by_key,
    by_lists,
    details,
    failed_call,
    in_order,
    unprocessed,
)

__all__ = [
    "Answer",
    "Call",
    "HttpBatch",
    "Item",
    "Request",
    "all_but",
    "by_key",
    "by_lists",
    "details",
    "failed_call",
    "in_order",
    "unprocessed",
]
