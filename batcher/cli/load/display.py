"""What a person sees while a file is loaded. Only the modules that display import rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def loading(label: str, size: int) -> Iterator[Callable[[int, int, int], None]]:
    """Show a bar on stderr from the first figures on; yields ``show(offset, settled, failed)``.

    :param size: bytes of the input; the time left is estimated from them
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} records/s"),
        TextColumn("{task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(file=sys.stderr))
    task = progress.add_task(label, total=size, rate=0.0, failed=0)
    began = monotonic()

    def show(offset: int, settled: int, failed: int) -> None:
        progress.start()  # which does nothing from the second time on
        rate = settled / max(monotonic() - began, 0.001)
        progress.update(task, completed=offset, rate=rate, failed=failed)

    try:
        yield show
    finally:
        if progress.live.is_started:
            progress.stop()
