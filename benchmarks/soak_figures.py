"""What the soak measures of its own process, and what it makes of it."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import attrs

from batcher import Writer
from benchmarks.soak_ledger import Ledger

# A record that is held: measured with 200,000 of them.
KEPT_MB = 280 / 2**20


def resident_mb(pid: int | str = "self") -> float:
    """Return the resident memory of a process: Linux only."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def open_fds() -> int:
    """Return the file descriptors of this process, without those by which libraries hold their own files: Linux only.

    libffi, as Debian builds it, opens its own file for the first callback of ctypes in a process, and keeps it.
    """
    held = 0
    for each in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that listing them took
            held += ".so" not in Path(os.readlink(f"/proc/self/fd/{each}")).name
    return held


def open_tasks() -> int:
    """Return the tasks of this event loop."""
    return len(anyio.get_running_tasks())


@attrs.frozen(kw_only=True)
class Sample:
    """What there was at one moment, after a garbage collection."""

    at: float
    resident: float
    objects: int
    """That the garbage collector knows of."""
    tasks: int
    fds: int
    held: int
    """Records that are not compared yet."""
    settled: int
    calls: int
    pending: int
    waiting: int
    lanes: int
    outcomes: Mapping[str, int]

    @classmethod
    def take(cls, writer: Writer, ledger: Ledger) -> Sample:
        """Look."""
        gc.collect()
        now = writer.statistics()
        return cls(
            at=time.monotonic(),
            resident=resident_mb(),
            objects=len(gc.get_objects()),
            tasks=open_tasks(),
            fds=open_fds(),
            held=ledger.held,
            settled=now.settled,
            calls=now.calls,
            pending=now.pending,
            waiting=now.waiting,
            lanes=now.lanes,
            outcomes=now.outcomes,
        )

    def line(self, began: float, before: Sample | None) -> str:
        """Return a line of progress, with rates since *before*."""
        passed = self.at - (began if before is None else before.at)
        records = (self.settled - (0 if before is None else before.settled)) / passed
        calls = (self.calls - (0 if before is None else before.calls)) / passed
        kinds = Counter(self.outcomes)
        kinds -= Counter({} if before is None else before.outcomes)
        return (
            f"{self.at - began:6.0f} {records:9,.0f} {calls:7.1f} {self.resident:7.1f} {self.objects / 1000:9,.0f} "
            f"{self.tasks:6} {self.fds:4} {self.pending:8} {self.waiting:8} {self.lanes:6} {self.held:8}  "
            f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
        )


HEADING = (
    f"{'s':>6} {'records/s':>9} {'calls/s':>7} {'MB':>7} {'k objects':>9} {'tasks':>6} {'fds':>4} {'pending':>8} "
    f"{'waiting':>8} {'lanes':>6} {'held':>8}  outcomes since the line above"
)


def growth(samples: Sequence[Sample]) -> float:
    """Return MB per minute: the slope of the straight line through the second half.

    What the soak itself holds is taken off: at its highest so far, for memory that was freed is seldom given back.
    """
    most, own = 0, []
    for each in samples:
        most = max(most, each.held)
        own.append(each.resident - most * KEPT_MB)
    half = len(samples) // 2
    if len(samples) - half < 2:
        return 0.0
    return statistics.linear_regression([each.at for each in samples[half:]], own[half:]).slope * 60
