"""``python -m benchmarks``: measure all scenarios, or some, and write results, report and charts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.measuring import SCALES, say
from benchmarks.report import check_cells, render, save
from benchmarks.runner import machine, measure
from benchmarks.scenarios import SCENARIOS

_FOLDER = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; it fails only if something breaks, never because a target is missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    folder = options.out or (_FOLDER if options.scale == "full" else _FOLDER / options.scale)
    if options.scenarios == ["report"]:
        print(render(folder))
        return 0
    if unknown := [letter for letter in options.scenarios if letter not in SCENARIOS]:
        parser.error(f"no scenario {', '.join(unknown)}: there are {', '.join(SCENARIOS)}, and report")
    failed = False
    for letter in options.scenarios or SCENARIOS:
        started_on = machine()
        found, well = measure(letter, SCALES[options.scale])
        for check in found.checks:
            print(f"{letter} | {check.name} | {check_cells(check)}", flush=True)
        for note in found.notes:
            print(f"{letter} | note: {note}", flush=True)
        failed |= not well
        # After each scenario: what was measured is kept if the next one is interrupted.
        report = save(folder, {letter: found}, options.scale, started_on)
    say(f"written: {report}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    scenarios = "\n".join(f"  {letter}  {scenario.title}" for letter, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the batcher next to what people would use instead. Targets are shown, never asserted.",
        epilog=f"scenarios:\n{scenarios}\n  report  write the report again from the results that are there",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="letters; all if none is given")
    parser.add_argument("--out", type=Path, help=f"folder of the results; by default {_FOLDER.name} in the package")
    size = parser.add_mutually_exclusive_group()
    for name in ("quick", "tiny"):
        words = "a twentieth of the size, less than two minutes in all" if name == "quick" else "for crashes only"
        size.add_argument(f"--{name}", dest="scale", action="store_const", const=name, default="full", help=words)
    return parser


if __name__ == "__main__":
    sys.exit(main())
