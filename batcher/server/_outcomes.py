"""Requests that are waited for: their records are written, and their outcomes come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batcher.destinations import Destination
from batcher.errors import InvalidGroup, InvalidRecord, RecordError
from batcher.outcomes import Outcome, Rejected, RolledBack, Written
from batcher.server._requests import WriteRequest
from batcher.writer import Writer
from batcher.writes import Write, check_write


async def outcomes_of(
    writer: Writer, destination: Destination, request: WriteRequest, deadline: float
) -> Sequence[Outcome]:
    """Write the records of a request and wait for what becomes of them, in their order.

    :param deadline: seconds for which they are sent and tried again
    :raises InvalidRecord: the one record can never be written as it is
    :raises InvalidGroup: the batch as a whole breaks a rule of groups
    :raises Overloaded: too many are pending
    :raises BatcherClosed: the server is stopping
    """
    if not request.is_batch:
        try:
            outcome: Any = await writer.submit(request.writes[0], deadline=deadline)
        except RecordError as error:
            outcome = error.outcome
        # A destination may also return plain values.
        return [outcome if isinstance(outcome, Outcome) else Written(data=outcome)]
    try:
        return await writer.submit_all(request.writes, deadline=deadline, all_or_none=request.all_or_none)
    except InvalidGroup:
        outcomes = _outcomes_of_invalid_group(destination, request.writes)
        if outcomes is None:
            raise
        return outcomes


def _outcomes_of_invalid_group(destination: Destination, writes: Sequence[Write]) -> Sequence[Outcome] | None:
    """Name the members that can never be written; None if it is the group as a whole that breaks a rule."""
    refused: dict[int, Rejected] = {}
    for index, write in enumerate(writes):
        try:
            check_write(write)
            destination.encode(write)
        except InvalidRecord as error:
            refused[index] = Rejected((error.detail,))
    if not refused:
        return None
    rolled_back = RolledBack(tuple(refused), [error for each in refused.values() for error in each.errors])
    return [refused.get(index, rolled_back) for index in range(len(writes))]
