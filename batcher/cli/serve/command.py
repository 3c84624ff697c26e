"""``batcher serve``: the Write API over HTTP, with a database or a provider behind it."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import math
import sys
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from batcher.cli._errors import CommandError, ExitCode, check_port, first_of, refusing, require_server
from batcher.cli._signals import watch_signals
from batcher.cli.destinations.choosing import FOR_A_SERVER, add_destination_arguments, destination_of
from batcher.cli.destinations.credentials import add_key_argument, read_keys
from batcher.cli.destinations.providers import VARIABLES
from batcher.errors import BatcherError
from batcher.policies import AutoBatchPolicy

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from batcher.cli._listening import Listener

DESCRIPTION = f"""\
Serve the Write API over a SQLite database, HubSpot or Salesforce, and batch what comes in.

Clients show one of the API keys in the header X-Api-Key. They are read from --api-key-file, or from the variable
BATCHER_API_KEY. The server speaks HTTP without TLS: listen on other addresses than 127.0.0.1 only behind a proxy that
has it. Also served: /healthz, /metrics, /openapi.json.

{VARIABLES}

SIGTERM and Ctrl-C drain: no more connections, the requests under way are finished, what is pending is written. A second
one aborts. Operations are held in memory: a crash forgets them, and what was accepted and not written yet.

exit code: 0 stopped and drained; 2 wrong arguments or environment; 130 aborted"""

KEY_VARIABLE: Final = "BATCHER_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    add_destination_arguments(parser, FOR_A_SERVER, default="sqlite:batcher.db")
    parser.set_defaults(call_timeout=20.0)  # as the server's LIMITS, which are not imported to show the help
    what = "let records of OBJECT be deleted; may be repeated (default: of none)"
    parser.add_argument("--allow-delete", action="append", default=[], metavar="OBJECT", help=what)
    names = ("PROJECT", "INTEGRATION", "GROUP_REF")
    what = "serve this customer, and no other that is not named so; may be repeated (default: all)"
    parser.add_argument("--installation", action="append", nargs=3, metavar=names, help=what)
    add_key_argument(parser, KEY_VARIABLE, "one API key per line")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="where to listen; 0 picks one (default: 8080)")
    what = "that a batch and a window may hold, 1 to 100 (default: 100)"
    parser.add_argument("--max-records", type=int, default=100, metavar="N", help=what)
    what = "served at a time; others are told to come back (default: 1000)"
    parser.add_argument("--max-requests", type=int, default=1000, metavar="N", help=what)
    # Less than the 30 seconds that Kubernetes grants a pod.
    what = "within which requests under way are answered and records settled (default: 20)"
    parser.add_argument("--shutdown-timeout", type=float, default=20.0, metavar="SECONDS", help=what)
    parser.add_argument("--access-log", action="store_true", help="log each request to stderr, without its body")


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes.

    :raises CommandError: the arguments or the environment do not allow it
    """
    require_server()
    from batcher.cli._listening import Listener

    check_port(arguments.port)
    app = _app(arguments)
    listener = Listener.bind(arguments.host, arguments.port)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not _is_loopback(listener):
        sys.stderr.write(
            f"batcher serve: {arguments.host} is open to other machines, and keys and records travel unencrypted: "
            "put a proxy with TLS in front\n"
        )
    return anyio.run(serve, app, listener, arguments.shutdown_timeout, arguments.access_log)


async def serve(app: Starlette, listener: Listener, shutdown_timeout: float, access_log: bool) -> ExitCode:
    """Serve *app* until the first signal, then drain; a second one aborts.

    :raises CommandError: the destination cannot be opened
    """
    from batcher.cli._listening import listening

    stopping = anyio.Event()
    everything = anyio.CancelScope()

    def on_signal() -> None:
        if stopping.is_set():
            everything.cancel()
        else:
            sys.stderr.write("batcher serve: stopping; what is under way is finished. Once more to abort\n")
            app.state.end_within(shutdown_timeout)
            stopping.set()

    problem = None
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, on_signal)
        try:
            with everything:
                async with listening(app, listener, shutdown_timeout=shutdown_timeout, access_log=access_log):
                    print(f"Serving the Write API at {listener.address}", flush=True)
                    await stopping.wait()
        except* BatcherError as group:  # the destination's own words say what it could not do
            problem = CommandError(str(first_of(group)))
        tasks.cancel_scope.cancel()
    if problem is not None:
        raise problem
    return ExitCode.INTERRUPTED if everything.cancelled_caught else ExitCode.OK


def _app(arguments: argparse.Namespace) -> Starlette:
    from batcher.server import Installation, write_api
    from batcher.server._service import LIMITS

    keys = read_keys(arguments.api_key_file, KEY_VARIABLE)
    installations = arguments.installation and [Installation(*names) for names in arguments.installation]
    destination, _ = destination_of(arguments, FOR_A_SERVER)
    with refusing(ValueError):
        return write_api(
            destination,
            api_keys=keys,
            deletion_enabled=arguments.allow_delete,
            installations=installations,
            auto_batch=AutoBatchPolicy(max_records=_in_range("--max-records", arguments.max_records, 100)),
            limits=attrs.evolve(LIMITS, shutdown_timeout=_seconds("--shutdown-timeout", arguments.shutdown_timeout)),
            max_requests=_in_range("--max-requests", arguments.max_requests),
        )


def _in_range(name: str, value: int, most: float = math.inf) -> int:
    if not 1 <= value <= most:
        allowed = "at least 1" if most == math.inf else f"from 1 to {most:g}"
        raise CommandError(f"{name} must be {allowed}, not {value}")
    return value


def _seconds(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise CommandError(f"{name} must be at least 0 seconds and finite, not {value}")
    return value


def _is_loopback(listener: Listener) -> bool:
    return ipaddress.ip_address(listener.socket.getsockname()[0].partition("%")[0]).is_loopback
