"""The command ``batcher``."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence

from batcher import __version__
from batcher.cli._errors import CommandError, ExitCode
from batcher.cli.demo import command as demo
from batcher.cli.load import command as load
from batcher.cli.sandbox import command as sandbox
from batcher.cli.serve import command as serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. What goes wrong is a sentence on stderr.

    :param argv: the arguments after the name of the command; those of the process by default
    """
    _print_whatever_comes()
    try:
        parser, of_commands = _parser()
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:
            # By the command's own usage; and by their names, for the value of one may be a secret.
            names = [each.partition("=")[0] for each in unknown if each.startswith("-")] or unknown
            of_commands[arguments.command].error(f"unrecognized arguments: {' '.join(names)}")
    except SystemExit as stop:  # argparse has printed the help or the problem
        return int(stop.code or 0)
    # On stderr, as all that is no result: why records are not written, as the library says it. (Some set their own.)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(arguments.run(arguments))
    except CommandError as error:
        sys.stderr.write(f"batcher {arguments.command}: {error}\n")
        return ExitCode.USAGE
    except KeyboardInterrupt:
        sys.stderr.write(f"batcher {arguments.command}: interrupted\n")
        return ExitCode.INTERRUPTED


def _print_whatever_comes() -> None:
    """Let the streams escape what their encoding lacks: a name is no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser, and that of each command."""
    of_commands: dict[str, argparse.ArgumentParser] = {}
    parser = argparse.ArgumentParser(
        prog="batcher", description="Write records one at a time; the API sees full batches."
    )
    parser.add_argument("--version", action="version", version=f"batcher {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command, summary in (
        ("demo", demo, "see what batching does, in a few seconds and without a network"),
        ("load", load, "write the records of a file and note the fate of each"),
        ("serve", serve, "serve the Write API over HTTP, with a database or a provider behind it"),
        ("sandbox", sandbox, "stand in for HubSpot or Salesforce, with faults to order"),
    ):
        layout = argparse.RawDescriptionHelpFormatter
        subparser = commands.add_parser(name, help=summary, description=command.DESCRIPTION, formatter_class=layout)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
        of_commands[name] = subparser
    return parser, of_commands


if __name__ == "__main__":
    sys.exit(main())
