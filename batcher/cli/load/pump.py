"""From the input file through a Writer into the results file, in constant memory, until it ends or is stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.to_thread
import attrs

from batcher._shell.receipts import Receipt
from batcher.cli._errors import CommandError, first_of
from batcher.cli._signals import watch_signals
from batcher.cli.load.entries import left_out, outcome_entry
from batcher.cli.load.formats import Row
from batcher.cli.load.in_vain import Patience
from batcher.cli.load.input_file import InputFile
from batcher.cli.load.marking import Marking, NumberedWrite
from batcher.cli.load.results import ResultsFile
from batcher.cli.load.tally import Tally, counted
from batcher.destinations import Destination
from batcher.errors import InvalidRecord, Overloaded
from batcher.outcomes import ErrorDetail, Outcome, Rejected
from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy
from batcher.writer import Writer

# Lines read and not yet in the results file. Four calls of up to 200 may be out; this keeps the next ones ready.
_WINDOW: Final = 2_000
_WINDOW_BYTES: Final = 64 * 1024 * 1024
_LIMITS: Final = Limits(
    max_pending_records=_WINDOW, max_lane_records=_WINDOW, max_pending_bytes=_WINDOW_BYTES, max_lane_bytes=_WINDOW_BYTES
)
# Nobody waits for a single record here, so a batch may wait to be full: calls are what costs. No destination takes more
# than 200 records in one, and most take 100.
_AUTO_BATCH: Final = AutoBatchPolicy(max_records=200, max_delay=1.0)
# A destination that is down is asked again for a minute. When to stop is decided here: a breaker is for callers who
# wait, of which there are none, and would have lines told that they are not written after a few small calls.
_RETRY: Final = RetryPolicy(breaker=None)
# Outcomes are recorded after each answer; this catches those that come without one, such as expiry.
_SWEEP_SECONDS: Final = 0.25


@attrs.define(eq=False)
class Pump:
    """One run of a load.

    :param to_write: makes the write of a row that has a record
    :param resend_unknown: send also lines of which nobody knows whether an earlier run wrote them
    :param show: called now and then while the load goes on
    """

    input: InputFile
    results: ResultsFile
    destination: Destination
    to_write: Callable[[Row], NumberedWrite]
    resend_unknown: bool
    tally: Tally
    show: Callable[[], None]
    _receipts: dict[int, Receipt[Any]] = attrs.field(factory=dict, init=False)
    _refused: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    _reading: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)
    _everything: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)
    _woken: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _room: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _read_all: bool = attrs.field(default=False, init=False)
    _problem: CommandError | None = attrs.field(default=None, init=False)
    _marking: Marking = attrs.field(init=False)
    _left_out: set[int] = attrs.field(factory=set, init=False)
    _patience: Patience = attrs.field(factory=Patience, init=False)

    def __attrs_post_init__(self) -> None:
        self._marking = Marking(self.destination, self.results.mark, self._on_results_failure)

    async def run(self) -> None:
        """Load the file. When this returns or raises, every outcome is in the results file.

        The first SIGINT or SIGTERM ends the reading and drains; the second aborts. So does cancellation.

        :raises CommandError: the destination, the input or the results file failed
        """
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(watch_signals, self._on_signal)
                with self._everything:
                    await self._write_all(tasks)
                tasks.cancel_scope.cancel()
        except* CommandError as group:
            self._problem = self._problem or first_of(group)
        finally:
            # The Writer is closed, so every receipt is settled. Also after cancellation, hence without await.
            self._record()
        self._give_up_if_all_was_in_vain()
        if self._problem is not None:
            raise self._problem

    async def _write_all(self, tasks: anyio.abc.TaskGroup) -> None:
        async with Writer(
            self._marking, auto_batch=_AUTO_BATCH, retry=_RETRY, limits=_LIMITS, on_event=lambda _: self._woken.set()
        ) as writer:
            try:
                await anyio.to_thread.run_sync(self.results.begin)
            except OSError as error:
                self._on_results_failure(error)
                return
            self.show()
            tasks.start_soon(self._record_as_they_come)
            with self._reading:
                await self._read(writer)

    def _on_signal(self) -> None:
        if self._reading.cancel_called:
            self.tally.interrupted = True
            self._everything.cancel()
        else:
            self.tally.interrupted = not self._read_all
            self._reading.cancel()
            if under_way := sum(not receipt.done for receipt in self._receipts.values()):
                waited = f"{counted(under_way, 'line')} under way {'is' if under_way == 1 else 'are'} waited for"
                print(f"stopping: {waited}; Ctrl-C again aborts", file=sys.stderr, flush=True)

    def _on_results_failure(self, error: OSError) -> None:
        """Stop: without a results file nothing may be sent."""
        self._problem = self._problem or CommandError(
            f"the results file {self.results.path} cannot be written: {error.strerror}. "
            "What was sent until then is marked in it; --resume goes on from there"
        )
        self._reading.cancel()

    async def _read(self, writer: Writer) -> None:
        try:
            while rows := await anyio.to_thread.run_sync(self.input.take):
                for row in rows:
                    if self._is_wanted(row.line):
                        await self._submit(writer, row)
                self.show()
        except OSError as error:
            self._problem = CommandError(f"the input {self.input.path} cannot be read: {error.strerror}")
            return
        self._read_all = True
        # Leaving the Writer drains too, but gives up after a while: fit for a signal, not for a slow destination.
        await writer.flush()

    def _is_wanted(self, line: int) -> bool:
        history = self.results.history
        return not history.is_written(line) and (self.resend_unknown or not history.is_unresolved(line))

    async def _submit(self, writer: Writer, row: Row) -> None:
        while len(self._receipts) + len(self._refused) >= _WINDOW or not self._is_taken(writer, row):
            self._woken.set()
            self._room = anyio.Event()
            await self._room.wait()

    def _is_taken(self, writer: Writer, row: Row) -> bool:
        """Submit a row, unless there is no place for it.

        Not by enqueue(): if a signal cancelled that at the wrong moment, a record would be sent without anybody
        to note its outcome. Here no await stands between the writer and the receipt.
        """
        if row.fault is not None:
            self._refuse(row.line, row.fault)
            return True
        try:
            self._receipts[row.line] = writer.submit_nowait(self.to_write(row))
        except InvalidRecord as error:
            self._refuse(row.line, error.detail)
        except Overloaded:
            return False
        return True

    def _refuse(self, line: int, fault: ErrorDetail) -> None:
        self._refused.append(self._entry(line, Rejected(fault)))

    def _entry(self, line: int, outcome: Outcome) -> dict[str, Any]:
        if line in self._left_out:
            outcome = left_out(outcome)
        return outcome_entry(line, outcome, tried_before=self.results.history.is_unresolved(line))

    async def _record_as_they_come(self) -> None:
        while True:
            with anyio.move_on_after(_SWEEP_SECONDS):
                await self._woken.wait()
            self._woken = anyio.Event()
            if self._everything.cancel_called:
                return  # a mark may still be on its way to the file, and an outcome must not come before it
            settled, refused = self._settled()
            if not settled and not refused:
                continue
            try:
                # Not abandoned when cancelled: entries are written and forgotten, or neither.
                await anyio.to_thread.run_sync(self.results.append, refused + settled)
            except OSError as error:
                self._on_results_failure(error)
                return
            self._forget(settled, refused)
            if settled:
                self._give_up_if_in_vain()

    def _give_up_if_in_vain(self) -> None:
        """Stop when no line was looked at for a while: the rest of the file would fare no better."""
        is_something_left = self._receipts or not self._read_all
        if self._patience.is_over and is_something_left and not self._reading.cancel_called:
            self.tally.gave_up = True
            self._reading.cancel()
            # Calls under way are waited for, and no more are made.
            self._left_out.update(line for line, receipt in self._receipts.items() if receipt.withdraw())

    def _give_up_if_all_was_in_vain(self) -> None:
        """Tell a destination that was never there from one that refused the lines, however short the file was."""
        self.tally.read_all = self._read_all
        was_sent = self._read_all and self._marking.largest_call and self._problem is None
        if was_sent and not self._patience.looked_at:
            self.tally.gave_up = True

    def _record(self) -> None:
        settled, refused = self._settled()
        try:
            self.results.append(refused + settled)
        except OSError as error:
            self._on_results_failure(error)
        else:
            self._forget(settled, refused)

    def _settled(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        outcomes = ((line, receipt.outcome) for line, receipt in self._receipts.items())
        settled = [self._entry(line, outcome) for line, outcome in outcomes if outcome is not None]
        return settled, list(self._refused)

    def _forget(self, settled: list[dict[str, Any]], refused: list[dict[str, Any]]) -> None:
        for entry in settled:
            del self._receipts[entry["line"]]
        self._patience.look(settled, self._marking.largest_call)
        del self._refused[: len(refused)]
        for entry in refused + settled:
            self.tally.count(entry)
        self._room.set()
        if refused or settled:
            self.show()
