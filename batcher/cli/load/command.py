"""``batcher load``: a file of records, written through a Writer, with the fate of each line on disk."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from time import monotonic

import anyio
import attrs

from batcher.cli._errors import CommandError, ExitCode, require
from batcher.cli.destinations.choosing import FOR_A_FILE, add_destination_arguments, destination_of
from batcher.cli.destinations.providers import VARIABLES
from batcher.cli.load.formats import CSVRows, JSONRows, Row
from batcher.cli.load.input_file import InputFile, format_of
from batcher.cli.load.marking import NumberedWrite
from batcher.cli.load.pump import Pump
from batcher.cli.load.results import ResultsFile
from batcher.cli.load.tally import Tally, counted
from batcher.writes import WriteType

DESCRIPTION = f"""\
Write each record of a CSV or JSON Lines file, in full batches, and note the fate of each line in a results file.

CSV: UTF-8, the first line names the fields, all values are strings, and an empty cell is left out of the record
(--empty-cells send sends it as an empty string). JSON Lines: one object per line. Blank lines are skipped.

Before each call its lines are marked in the results file. After an interruption or a crash, --resume sends what is
known not to be written. Lines of which nobody knows are listed, and sent again only with --resend-unknown.

Ctrl-C stops reading and waits for what is under way; a second Ctrl-C aborts. The load stops by itself when the
destination writes nothing any more for no record's fault: it is down, or refuses the key. A short file ends in the
same way if nothing of it was written, for no record's fault.

To Ampersand: --to ampersand:PROJECT/INTEGRATION --group-ref REF, and the key in the variable AMPERSAND_API_KEY or in
--api-key-file. To "batcher serve": the same, with --base-url http://127.0.0.1:8080 --provider salesforce.

{VARIABLES}

exit code: 0 all written; 1 some records were refused, or are perhaps written; 2 wrong arguments or environment;
3 stopped by itself, or at the end of a file of which nothing was written, for no record's fault; 130 interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the input; .csv, .tsv, .jsonl or .ndjson")
    parser.add_argument("--object", required=True, metavar="NAME", help='the kind of record, such as "contacts"')
    add_destination_arguments(parser, FOR_A_FILE)
    types = [each.value for each in WriteType]
    parser.add_argument("--type", choices=types, default="create", help="what to do with a record (default: create)")
    parser.add_argument("--by", metavar="FIELD", help="the field that an upsert matches on; unique in sqlite")
    parser.add_argument("--format", choices=("csv", "jsonl"), help="of the input (default: by its suffix)")
    parser.add_argument("--delimiter", metavar="CHAR", help='of CSV cells, such as ";" or "tab" (default: a comma)')
    parser.add_argument("--empty-cells", choices=("omit", "send"), default="omit", help="of a CSV (default: omit)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="the results file (default: FILE.results.jsonl)")
    parser.add_argument("--resume", action="store_true", help="go on with the load of an existing results file")
    parser.add_argument("--resend-unknown", action="store_true", help="with --resume: send also what may be written")


def run(arguments: argparse.Namespace) -> int:
    """Load a file and print a summary.

    :raises CommandError: the arguments or the environment do not allow it
    """
    require("cli", "rich")
    return anyio.run(load, arguments)


async def load(arguments: argparse.Namespace) -> ExitCode:
    """Load a file inside a running event loop; blocks it briefly to open files.

    :param arguments: as declared by :func:`add_arguments`
    :raises CommandError: the arguments or the environment do not allow it
    """
    from batcher.cli.load.display import loading

    _check(arguments)
    destination, target = destination_of(arguments, FOR_A_FILE)
    rows = _rows(arguments)
    with InputFile.open(arguments.file, rows) as input_file, _results(arguments, rows, input_file, target) as results:
        unresolved = 0 if arguments.resend_unknown else sum(1 for _ in results.history.unresolved())
        tally = Tally(skipped_written=results.history.written, skipped_unresolved=unresolved)
        began = monotonic()
        finished = False
        try:
            with loading(arguments.file.name, input_file.size) as show_figures:
                await Pump(
                    input_file,
                    results,
                    destination,
                    to_write=partial(_to_write, arguments),
                    resend_unknown=arguments.resend_unknown,
                    tally=tally,
                    show=lambda: show_figures(input_file.offset, tally.settled, tally.failed),
                ).run()
            finished = True
        finally:
            if finished or tally.settled:
                _print_summary(tally, results, monotonic() - began)
    return tally.exit_code()


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.object:
        raise CommandError("--object must be the name of an object, not an empty string")
    if arguments.resend_unknown and not arguments.resume:
        raise CommandError("--resend-unknown needs --resume: it is about lines that an earlier load left unknown")
    if arguments.type == "upsert" and not arguments.by:
        raise CommandError("--type upsert needs --by FIELD, the field to match on")
    if arguments.type != "upsert" and arguments.by is not None:
        raise CommandError(f"--by belongs to --type upsert, not to {arguments.type}: leave it out")


def _delimiter(arguments: argparse.Namespace) -> str:
    given = arguments.delimiter
    if given is None:
        return "\t" if arguments.file.suffix.lower() == ".tsv" else ","
    delimiter = "\t" if given == "tab" else str(given)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CommandError(f'--delimiter must be one character such as ";", or "tab", not {given!r}')
    return delimiter


def _rows(arguments: argparse.Namespace) -> CSVRows | JSONRows:
    if (arguments.format or format_of(arguments.file)) == "jsonl":
        return JSONRows()
    return CSVRows(_delimiter(arguments), arguments.empty_cells)


def _results(
    arguments: argparse.Namespace, rows: CSVRows | JSONRows, input_file: InputFile, target: str
) -> ResultsFile:
    path = arguments.results or arguments.file.with_name(arguments.file.name + ".results.jsonl")
    # Everything that says which record a line number means, and where it went. A rejected record may
    # pass under other --unique or --required, so these may change from run to run.
    load = {
        "file": os.fspath(arguments.file.absolute()),
        "sha256": input_file.sha256,
        "format": rows.format,
        **attrs.asdict(rows),
        "object": arguments.object,
        "type": arguments.type,
        "by": arguments.by,
        "to": target,
    }
    start = ResultsFile.resume if arguments.resume else ResultsFile.create
    return start(path, load, max_line=input_file.size)


def _to_write(arguments: argparse.Namespace, row: Row) -> NumberedWrite:
    assert row.record is not None, "rows at fault are not submitted"
    return NumberedWrite(arguments.object, arguments.type, row.record, by=arguments.by, line=row.line)


def _print_summary(tally: Tally, results: ResultsFile, seconds: float) -> None:
    print(f"{counted(tally.settled, 'record')} in {seconds:.1f} s ({tally.settled / seconds:,.0f}/s)")
    for sentence in tally.sentences(results.history.unresolved()):
        print(sentence)
    print(f"The fate of each line: {results.path}")
