"""``python -m tests.simulation``: play seeds, replay one."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pool

from tests.simulation.comparing import compare
from tests.simulation.running import play
from tests.simulation.tallies import Tally

CHUNK = 25


def main() -> int:
    """Do what the arguments say; return 1 if a law was broken, 2 if something never occurred, 130 if interrupted."""
    options = _options()
    if options.table:
        print(compare())
        return 0
    if options.seed is not None:
        return _replay(options.seed, options.backend)
    tally, interrupted = Tally(), False
    try:
        for part in _parts(range(options.start, options.start + options.seeds), options.backend, options.jobs):
            tally.merge(part)
            for complaint in part.complaints:
                print(f"\r{complaint}", flush=True)
            print(f"\r{tally.seeds:,} seeds, {len(tally.complaints)} failed ", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        interrupted = True
    print(f"\r{tally}")
    if tally.complaints:
        print(f"{len(tally.complaints)} seeds FAILED")
        return 1
    if interrupted:
        return 130
    for name in tally.never():
        print(f"never occurred: {name}")
    return 2 if tally.never() else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many (300)")
    parser.add_argument("--from", type=int, default=0, dest="start", help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--seed", type=int, help="replay this one, and say what occurred")
    parser.add_argument("--backend", choices=["asyncio", "trio"], help="instead of the loop that the seed says")
    parser.add_argument("--table", action="store_true", help="compare with a fixed window instead, in Markdown")
    return parser.parse_args()


def _replay(seed: int, backend: str | None) -> int:
    tally, result = Tally(), play(seed, backend)
    tally.add(result)
    for name, count in {**tally.faults, **tally.premises}.items():
        if count:
            print(f"  {name:<58}{count:>12,}")
    print(result.complaint() or f"{result}: every law holds")
    return 1 if tally.complaints else 0


def _parts(seeds: range, backend: str | None, jobs: int) -> Iterator[Tally]:
    chunks = [seeds[index : index + CHUNK] for index in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        yield from (play_all(chunk, backend) for chunk in chunks)
        return
    with Pool(jobs, initializer=_ignore_interrupts) as pool:  # leaving it ends the processes
        yield from pool.imap_unordered(partial(play_all, backend=backend), chunks)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the children


def play_all(seeds: range, backend: str | None = None) -> Tally:
    """Play some seeds."""
    tally = Tally()
    for seed in seeds:
        tally.add(play(seed, backend))
    return tally


if __name__ == "__main__":
    sys.exit(main())
