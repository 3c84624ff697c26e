"""Interfere at every bytecode of every verb: ``python -m tests.interference [intruder ...] [--every 50]``."""

from __future__ import annotations

import argparse
from collections import Counter

from tests.interference.intruders import INTRUDERS
from tests.interference.playing import Backend, places, play_at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("intruders", nargs="*", default=list(INTRUDERS), help=f"of {', '.join(INTRUDERS)}")
    parser.add_argument("--every", type=int, default=1, help="play only each N-th place")
    parser.add_argument("--first", type=int, default=0, help="the first place to play")
    parser.add_argument("--backend", choices=["asyncio", "trio", "eager", "uvloop"], action="append")
    arguments = parser.parse_args()
    failures: Counter[str] = Counter()
    backends: list[Backend] = arguments.backend or ["asyncio", "trio"]
    for backend in backends:
        for name in arguments.intruders:
            everywhere = places(backend, INTRUDERS[name])[arguments.first :: arguments.every]
            for at in everywhere:
                try:
                    play_at(at, backend, INTRUDERS[name])
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    note = error.__notes__[-1] if getattr(error, "__notes__", None) else ""
                    where = note.partition(", in ")[2]
                    if not failures[f"{name} {backend} {where}"]:
                        print(f"{note}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                    failures[f"{name} {backend} {where}"] += 1
            print(f"{name} on {backend}: {len(everywhere)} places", flush=True)
    print(f"{failures.total()} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
