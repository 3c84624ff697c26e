"""``batcher sandbox``: a stand-in for HubSpot or Salesforce on this machine."""

from __future__ import annotations

import argparse
import logging
import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from batcher.cli._errors import CommandError, ExitCode, check_port, object_and_field, require_server
from batcher.cli._signals import watch_signals

if TYPE_CHECKING:
    from batcher.cli._listening import Listener
    from batcher.sandbox import Sandbox

DESCRIPTION = """\
Stand in for HubSpot or Salesforce on 127.0.0.1: batches, single records, associations, tokens, limits, and their warts,
over a SQLite database. For tests and trials; whoever is on this machine may write to it.

Faults are ordered with POST /sandbox/faults, for example {"faults": [{"kind": "reset", "applied": true, "times": 3}]},
counted by GET, withdrawn by DELETE. What was written is shown by GET /sandbox/records/TYPE.

SIGTERM and Ctrl-C stop it."""

# Seconds for the requests under way when it stops. Some wait on purpose.
_PATIENCE = 1.0
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("provider", choices=("hubspot", "salesforce"), help="whom to stand in for")
    parser.add_argument("--port", type=int, default=8081, help="where to listen; 0 picks one (default: 8081)")
    parser.add_argument(
        "--database", default=":memory:", metavar="PATH", help="where to keep records (default: nowhere)"
    )
    what = "let FIELD of OBJECT be unique: it can address a record; may be repeated"
    parser.add_argument("--unique", action="append", default=[], metavar="OBJECT.FIELD", help=what)
    parser.add_argument("--seed", type=int, default=0, help="of all that happens at random (default: 0)")
    parser.add_argument("--for", type=float, dest="seconds", metavar="SECONDS", help="stop after this time")


def run(arguments: argparse.Namespace) -> int:
    """Stand in until a signal comes or the time is over.

    :raises CommandError: the arguments or the environment do not allow it
    """
    require_server()
    from batcher.cli._listening import Listener

    check_port(arguments.port)
    seconds = math.inf if arguments.seconds is None else arguments.seconds
    if not seconds >= 0:
        raise CommandError(f"--for must be at least 0 seconds, not {seconds}")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with _sandbox(arguments) as sandbox:
        return anyio.run(serve, sandbox, Listener.bind("127.0.0.1", arguments.port), seconds)


async def serve(sandbox: Sandbox, listener: Listener, seconds: float) -> ExitCode:
    """Serve *sandbox* for some seconds, or until the first signal."""
    from batcher.cli._listening import listening
    from batcher.sandbox._sockets import BreakableProtocol

    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, stopping.set)
        async with listening(sandbox.app, listener, shutdown_timeout=_PATIENCE, protocol=BreakableProtocol):
            credentials = [f"{name}: {value}" for name, value in sandbox.credentials().items()]
            faults = f"Faults: {listener.address}/sandbox/faults"
            print(f"{type(sandbox).__name__} at {listener.address}", *credentials, faults, sep="\n", flush=True)
            with anyio.move_on_after(seconds):
                await stopping.wait()
        tasks.cancel_scope.cancel()
    return ExitCode.OK


def _sandbox(arguments: argparse.Namespace) -> Sandbox:
    from batcher.sandbox import HubSpotObject, HubSpotSandbox, SalesforceObject, SalesforceSandbox
    from batcher.sandbox.hubspot import records as hubspot
    from batcher.sandbox.salesforce import records as salesforce

    unique = [object_and_field("--unique", given) for given in arguments.unique]
    try:
        if arguments.provider == "hubspot":
            properties = _with(hubspot.DEFAULT_OBJECTS, HubSpotObject(), "unique", unique)
            return HubSpotSandbox(arguments.database, seed=arguments.seed, objects=properties)
        ids = _with(salesforce.DEFAULT_OBJECTS, SalesforceObject(), "external_ids", unique)
        return SalesforceSandbox(arguments.database, seed=arguments.seed, objects=ids)
    except sqlite3.Error as error:
        raise CommandError(f"cannot open the database {arguments.database!r}: {error}") from None


def _with(known: Mapping[str, T], unknown: T, name: str, unique: Iterable[tuple[str, str]]) -> dict[str, T]:
    """Return descriptions of objects with further unique fields."""
    described = dict(known)
    for target, field in unique:
        description = described.get(target, unknown)
        changes = {name: (*getattr(description, name), field)}
        described[target] = attrs.evolve(description, **changes)  # type: ignore[misc]
    return described
