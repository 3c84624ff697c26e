"""What the hook is told. It is called when the state is whole and everybody is woken, so it may come back in."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from batcher._core.entries import Batch, Entry
from batcher.events import Event, EventKind, Hook
from batcher.outcomes import Outcome

logger = logging.getLogger("batcher")
logger.addHandler(logging.NullHandler())  # a library prints nothing by itself


class Reporter:
    """Makes events and gives them to the hook. What the hook raises is its own affair."""

    __slots__ = ("_hook",)

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def dispatched(self, batch: Batch) -> None:
        """Tell that a batch was handed to a worker."""
        self._emit(
            Event(
                kind=EventKind.DISPATCHED,
                key=batch.lane.key,
                reason=batch.reason,
                records=len(batch.sent),
                size_bytes=batch.size,
                seconds=batch.dispatched_at - min(entry.accepted_at for entry in batch.sent),
            )
        )

    def answered(self, batch: Batch, seconds: float) -> None:
        """Tell what became of the records of a call."""
        fates = [fate for entry in batch.sent if (fate := entry.fate()) is not None]
        self._emit(
            Event(
                kind=EventKind.ANSWERED,
                key=batch.lane.key,
                records=len(batch.sent),
                size_bytes=batch.size,
                seconds=seconds,
                outcomes=Counter(fate.kind for fate in fates),
                retried=len(batch.sent) - len(fates),
                codes=_codes(fates),
            )
        )

    def detached(self, entry: Entry) -> None:
        """Tell the outcome that a cancelled caller did not see."""
        fate = entry.fate()
        if fate is not None:
            self._emit(
                Event(
                    kind=EventKind.DETACHED,
                    key=entry.lane.key,
                    records=1,
                    outcomes={fate.kind: 1},
                    codes=_codes((fate,)),
                )
            )

    def _emit(self, event: Event) -> None:
        try:
            self._hook(event)
        except BaseException as error:
            if stops_programs(error):
                raise
            logger.exception("the on_event hook raised; the event is lost, the records are not")


def log_raise(error: Exception, records: int) -> None:
    """Log where a write function raised. Not what it said, which may quote a payload."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    logger.warning("a call with %d records raised %s%s", records, type(error).__name__, where)


def log_left_over(cause: str, unknown: int, not_written: int) -> None:
    """Log how many records a batcher that ended early leaves behind; their callers are told one by one."""
    if unknown or not_written:
        logger.warning("%s: %d records are unknown, %d are not written", cause, unknown, not_written)


def stops_programs(error: BaseException) -> bool:
    """Return whether *error* is, or contains, an interrupt or an exit: nobody's outcome."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(stops_programs, error.exceptions))
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


def _codes(fates: Sequence[Outcome]) -> tuple[str, ...]:
    codes = {error.code for fate in fates for error in getattr(fate, "errors", ()) if error.code is not None}
    return tuple(sorted(codes)[:10])
