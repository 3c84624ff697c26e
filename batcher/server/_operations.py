"""Operations: the handles of requests, perhaps of many records, and what became of each. Kept for a bounded time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any
from uuid import uuid4

import anyio
import attrs

from batcher._shell.complaints import Throttle
from batcher.server._fates import Fate
from batcher.server._problems import logger, timestamp
from batcher.server._requests import Installation

# The schema demands one; there is nothing here for it to tell apart.
_CONFIG_ID = "default"


@attrs.define(eq=False)
class Operation:
    """One request, or one window of many, and the fates of its records in the order in which they came."""

    id: str
    number: int
    """Grows by one from operation to operation: the place in the listing."""
    installation: Installation
    object: str
    is_batch: bool
    created_at: float
    """Seconds since 1970: what is shown."""
    began: float
    """On the clock of the event loop, which nobody sets: what ages are measured on."""
    fates: list[Fate | None] = attrs.field(factory=list)
    """One per record; None while it is under way."""
    unsettled: int = 0
    takes_more: bool = False
    """Whether records may still join."""
    unseen: bool = False
    """Whether nobody is answered with its fates, so that those which are none to hope for are logged."""
    ended: float | None = None
    """On the clock of the event loop."""

    def join(self) -> int:
        """Take one more record in, and return its index."""
        self.fates.append(None)
        self.unsettled += 1
        return len(self.fates) - 1

    @property
    def succeeded(self) -> int:
        """Records that were written."""
        return sum(fate is not None and fate.ok for fate in self.fates)

    @property
    def status(self) -> str:
        """In the API's words; ``success`` also if only some records were written."""
        if self.ended is None:
            return "in_progress"
        return "success" if self.succeeded else "failure"

    @property
    def updated_at(self) -> float:
        """Seconds since 1970: as long after its creation as it took, whatever the wall clock was set to meanwhile."""
        return self.created_at if self.ended is None else self.created_at + (self.ended - self.began)

    def to_json(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        shown: dict[str, Any] = {
            "id": self.id,
            "projectId": self.installation.project,
            "integrationId": self.installation.integration,
            "installationId": self.installation.group_ref,
            "configId": _CONFIG_ID,
            "actionType": "write",
            "status": self.status,
            "resource": self.object,
            "metadata": {"objects": [self.object]},
            "createTime": timestamp(self.created_at),
            "updateTime": timestamp(self.updated_at),
        }
        if self.ended is not None:
            shown["result"] = self._result()
            ids = [fate.record_id for fate in self.fates if fate is not None and fate.ok and fate.record_id]
            shown["metadata"]["successfulRecordIds"] = ids
        return shown

    def _result(self) -> str:
        good, bad = self.succeeded, len(self.fates) - self.succeeded
        if self.is_batch:
            return f"Batch write completed ({good} succeeded, {bad} failed)"
        return "Write completed" if good else f"[{self.object}] Error writing to provider"

    def outcomes(self, first: int, size: int) -> list[dict[str, Any]]:
        """Return the fates of *size* records from index *first*, as JSON."""
        return [
            {"index": index, "outcome": "in_progress", "applied": "maybe"} if fate is None else fate.to_json(index)
            for index, fate in enumerate(self.fates[first : first + size], first)
        ]


class Operations:
    """All operations that are not forgotten yet.

    Those under way are kept; of the ended ones as many as fit, for *keep_for* at most, those that ended first being
    forgotten first.

    :param clock: returns seconds since 1970, for what is shown
    :param keep_for: seconds after its end for which an operation can be read
    :param keep_records: records of ended operations that are kept in all
    :param timer: returns seconds on a clock that nobody sets, for ages; that of the event loop by default
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        keep_for: float,
        keep_records: int,
        timer: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._clock = clock
        self._timer = timer
        self._keep_for = keep_for
        self._keep_records = keep_records
        self._by_id: dict[str, Operation] = {}
        self._by_installation: dict[Installation, dict[int, Operation]] = {}
        self._ended: dict[str, Operation] = {}  # in the order in which they ended
        self._records = 0  # of the ended ones
        self._number = 0
        self._complaints = Throttle(timer, logger)

    def begin(
        self,
        installation: Installation,
        object: str,
        *,
        is_batch: bool,
        takes_more: bool = False,
        unseen: bool = False,
    ) -> Operation:
        """Open an operation."""
        self._number += 1
        operation = Operation(str(uuid4()), self._number, installation, object, is_batch, self._clock(), self._timer())
        operation.takes_more = takes_more
        operation.unseen = unseen
        self._by_id[operation.id] = operation
        self._by_installation.setdefault(installation, {})[operation.number] = operation
        return operation

    def settle(self, operation: Operation, index: int, fate: Fate) -> None:
        """Note the fate of one record."""
        assert operation.fates[index] is None, "a record has one fate"
        operation.fates[index] = fate.kept()
        operation.unsettled -= 1
        self.end_if_done(operation)

    def end_if_done(self, operation: Operation, ago: float = 0.0) -> None:
        """End an operation that takes no more records and whose records have all met their fate, *ago* seconds ago."""
        if operation.unsettled or operation.takes_more or operation.ended is not None:
            return
        operation.ended = self._timer() - ago
        self._ended[operation.id] = operation
        self._records += len(operation.fates)
        if operation.unseen:
            self._complain_of(operation)
        self._forget_old()

    def finish(self) -> None:
        """Say how many lines were kept back."""
        self._complaints.finish()

    def _complain_of(self, operation: Operation) -> None:
        failed = [fate for fate in operation.fates if fate is not None and not fate.ok]
        if failed:
            kinds = Counter(fate.outcome for fate in failed)
            codes = sorted({error.code for fate in failed for error in fate.errors if error.code is not None})[:5]
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            line = (
                f"operation {operation.id} on {operation.object}: of {len(operation.fates)} records {counts}"
                f"{', codes ' if codes else ''}{', '.join(codes)}"
            )
            kind = (operation.installation, operation.object, *kinds, *codes)
            self._complaints.write(kind, line if line.isprintable() else ascii(line))

    def find(self, project: str, operation_id: str) -> Operation | None:
        """Return an operation of this project."""
        self._forget_old()
        operation = self._by_id.get(operation_id)
        return operation if operation is not None and operation.installation.project == project else None

    def page(self, installation: Installation, before: int | None, size: int) -> tuple[list[Operation], int | None]:
        """Return *size* operations, the newest first, and what to give as *before* for the next ones, if there are any.

        :param before: only operations with a smaller number
        """
        self._forget_old()
        newest_first = reversed(self._by_installation.get(installation, {}).values())
        older = (each for each in newest_first if before is None or each.number < before)
        found = list(islice(older, size + 1))
        return found[:size], found[size - 1].number if len(found) > size else None

    @property
    def in_progress(self) -> int:
        """Operations under way."""
        return len(self._by_id) - len(self._ended)

    @property
    def ended(self) -> int:
        """Ended operations that can be read."""
        return len(self._ended)

    def _forget_old(self) -> None:
        oldest = self._timer() - self._keep_for
        while self._ended:
            operation = next(iter(self._ended.values()))
            assert operation.ended is not None
            # One at least is kept, however large, so that the latest can be read.
            too_many = self._records > self._keep_records and len(self._ended) > 1
            if not too_many and operation.ended > oldest:
                return
            self._forget(operation)

    def _forget(self, operation: Operation) -> None:
        del self._ended[operation.id], self._by_id[operation.id]
        self._records -= len(operation.fates)
        siblings = self._by_installation[operation.installation]
        del siblings[operation.number]
        if not siblings:
            del self._by_installation[operation.installation]
