"""One part of one scenario, in a process of its own: ``python -m benchmarks.part a asyncio full`` prints JSON."""

from __future__ import annotations

import json
import sys

from benchmarks.measuring import SCALES
from benchmarks.scenarios import SCENARIOS


def main() -> None:
    """Measure and print the findings."""
    letter, part, scale = sys.argv[1:]
    print(json.dumps(SCENARIOS[letter].parts[part](SCALES[scale]).to_json()))


if __name__ == "__main__":
    main()
