"""The soak: too short to say anything of memory, long enough to see that it runs and finds the server well."""

import os
import subprocess
import sys
from pathlib import Path

import batcher

HOME = Path(batcher.__file__).parent.parent


def test_the_soak_runs_and_finds_the_server_well() -> None:
    """No status that was not asked for, and tasks and pending records back where they began."""
    command = [sys.executable, "-W", "error", "benchmarks/serve_soak.py", "--seconds", "2", "--clients", "20"]
    run = subprocess.run(
        command, cwd=HOME, env={**os.environ, "PYTHONPATH": str(HOME)}, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("well\n")
    assert "ResourceWarning" not in run.stderr
