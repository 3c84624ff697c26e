"""``batcher demo``: records written one call each and through ``submit()``, to a database that answers like an API."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import anyio
import attrs

from batcher.cli._errors import CommandError, ExitCode, require, require_server
from batcher.cli._signals import watch_signals
from batcher.cli.demo.workload import Contact, Run, Workload, workload
from batcher.destinations import Destination
from batcher.destinations.sqlite import SQLite, Table
from batcher.errors import InvalidRecord, RecordError, error_for
from batcher.events import Event, EventKind
from batcher.outcomes import Outcome, Rejected, Written
from batcher.policies import AutoBatchPolicy, Limits
from batcher.writer import Writer
from batcher.writes import Write, WriteType

DESCRIPTION = """\
Write 10,000 made-up contacts from 400 concurrent callers into a temporary SQLite database that answers like an API,
50 ms a call: a sample of them with one call each, then all of them through submit(). Needs no network and no
arguments, takes a few seconds, and leaves nothing behind.

With --http the database stands behind "batcher serve" on a socket of this machine, and the writer is a client of it."""

_OBJECT: Final = "contacts"
_TABLE: Final = Table(unique=["email"], required=["email"])


@attrs.frozen(kw_only=True)
class Scale:
    """How large the demo is."""

    records: int = 10_000
    groups: int = 4
    """All-or-none groups among the records."""
    callers: int = 400
    """Concurrent tasks, each waiting for the fate of one record at a time. Also the records of the sample."""
    delay: float = 0.05
    """Seconds that each call takes, besides the work."""
    http: bool = False
    """Whether the database stands behind a server on a loopback socket."""
    patience: float = 300.0
    """Seconds after which it is stopped; it takes a few."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    what = "write through the Write API, over a real socket (needs the extra 'server')"
    parser.add_argument("--http", action="store_true", help=what)


def run(arguments: argparse.Namespace) -> int:
    """Show the demo on stdout.

    :raises CommandError: something that it needs is not installed, or it hangs
    """
    require("cli", "rich")
    if arguments.http:
        require_server("demo --http")
    return anyio.run(demo, Scale(http=arguments.http))


async def demo(scale: Scale) -> ExitCode:
    """Show the demo inside a running event loop.

    :raises CommandError: it hangs
    """
    code = ExitCode.INTERRUPTED
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, tasks.cancel_scope.cancel)
        with anyio.move_on_after(scale.patience) as patience:
            await _compare(scale)
            code = ExitCode.OK
        tasks.cancel_scope.cancel()
    if patience.cancelled_caught:
        raise CommandError(f"it was stopped because it took longer than {scale.patience:g} s")
    return code


async def _compare(scale: Scale) -> None:
    from batcher.cli.demo.display import demonstrating, print_comparison, print_intro

    work = workload(scale.records, scale.groups)
    sample = Workload(work.singles[: scale.callers], [])
    print_intro(
        f"{work.records:,} contacts from {scale.callers} concurrent callers, each waiting for the fate of its record.\n"
        f"A call takes {scale.delay * 1000:g} ms, and {Limits().max_lane_in_flight} calls may be out at a time.\n"
        + ("Each is a request to a Write API on a loopback socket.\n" if scale.http else "")
    )
    with TemporaryDirectory(prefix="batcher-demo-", ignore_cleanup_errors=True) as folder, demonstrating() as show:
        alone, together = AutoBatchPolicy(max_records=1), AutoBatchPolicy()
        progress = show("one call each (sample)", sample.records)
        one_by_one = await _write(Path(folder, "sample.db"), sample, scale, alone, progress)
        progress = show("through submit()", work.records)
        batched = await _write(Path(folder, "crm.db"), work, scale, together, progress)
    print_comparison(one_by_one, batched)


async def _write(
    path: Path, work: Workload, scale: Scale, auto_batch: AutoBatchPolicy, show: Callable[[Run], None]
) -> Run:
    run = Run(work.records)

    def count_calls(event: Event) -> None:
        if event.kind is EventKind.ANSWERED:
            run.calls += 1
            show(run)

    database = SQLite(path, objects={_OBJECT: _TABLE}, delay=scale.delay)
    async with (
        _behind_http(database) if scale.http else nullcontext(database) as destination,
        Writer(destination, auto_batch=auto_batch, on_event=count_calls) as crm,
    ):
        singles = iter(work.singles)
        began = perf_counter()
        async with anyio.create_task_group() as callers:
            for group in work.groups:
                callers.start_soon(_call_group, crm, group, run)
            for _ in range(scale.callers - len(work.groups)):
                callers.start_soon(_call, crm, singles, run)
        run.seconds = perf_counter() - began
        run.stored = await database.count(_OBJECT)
    show(run)
    return run


@asynccontextmanager
async def _behind_http(database: SQLite) -> AsyncIterator[Destination]:
    """Serve *database* on a port of this machine that is free; yields what writes to it through the Write API."""
    import httpx

    from batcher.cli._listening import Listener, listening
    from batcher.destinations import Ampersand
    from batcher.server import write_api

    key = secrets.token_urlsafe()
    # Requests are counted and compared, so the server has no record wait for others.
    app = write_api(database, api_keys=[key], auto_batch=AutoBatchPolicy(max_delay=0))
    listener = Listener.bind("127.0.0.1", 0)
    async with (
        listening(app, listener, shutdown_timeout=5),
        # A proxy that the environment names does not lead back to this machine.
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        yield Ampersand(
            "demo",
            "crm",
            api_key=key,
            group_ref="demo",
            provider="salesforce",  # this server, too, keeps results complete and in order
            client=client,
            base_url=listener.address,
            platform_url=listener.address,
        )


async def _call(crm: Writer, contacts: Iterator[Contact], run: Run) -> None:
    """Be one caller: write a record, wait for its fate, take the next."""
    for contact in contacts:
        began = perf_counter()
        outcome: Outcome
        told: object
        try:
            outcome = told = await crm.create(_OBJECT, contact)
        except InvalidRecord as error:
            run.at_the_edge += 1
            outcome, told = Rejected(error.detail), error
        except RecordError as error:
            outcome, told = error.outcome, error
        run.settle(contact, outcome, perf_counter() - began, told)


async def _call_group(crm: Writer, group: list[Contact], run: Run) -> None:
    began = perf_counter()
    writes = [Write(_OBJECT, WriteType.CREATE, contact) for contact in group]
    for contact, outcome in zip(group, await crm.submit_all(writes, all_or_none=True), strict=True):
        told = outcome if isinstance(outcome, Written) else error_for(outcome, contact)
        run.settle(contact, outcome, perf_counter() - began, told)
