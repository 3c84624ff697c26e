"""Any other batch endpoint, from two small functions."""

from batcher.destinations._http.answers import Answer
from batcher.destinations.http_batch.destination import HttpBatch
from batcher.destinations.http_batch.details import details, failed_call
from batcher.destinations.http_batch.matching import all_but, by_key, by_lists, in_order, unprocessed
from batcher.destinations.http_batch.requests import Call, Item, Request

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
