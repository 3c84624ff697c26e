"""Child processes: each has a time in which it must end, and none outlives its parent's interest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# No child takes longer in a full run on a busy machine of two cores; one that does is stopped.
CHILD_SECONDS = 1_200.0


def run_child(module: str, *arguments: str, timeout: float = CHILD_SECONDS) -> str:
    """Run a module in a fresh interpreter and return what it printed.

    :raises subprocess.SubprocessError: it failed, or took too long and was stopped
    """
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=timeout,
    ).stdout


def run_code(code: str, *, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> str:
    """Run a piece of code in a fresh interpreter and return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, env=env, timeout=timeout
    ).stdout


@contextmanager
def child(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a module in a fresh interpreter, and stop it at the end, whatever happens."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_from(process: subprocess.Popen[str]) -> str:
    """Return the next line that a child prints.

    :raises RuntimeError: it ended instead
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a child process ended with {process.wait()}")
    return line.strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Send a line to a child."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
