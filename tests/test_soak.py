"""The soak of the Writer: too short to say anything of memory, long enough to see that it runs, and that it can fail.

What it starts are processes and sockets, on the real clock.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import attrs
import pytest

import batcher
from batcher.outcomes import NotWritten, Unknown, Written
from batcher.sandbox import Fault
from benchmarks.soak import Soak
from benchmarks.soak_figures import KEPT_MB, Sample, growth, open_fds
from benchmarks.soak_ledger import DELETED, Ledger
from benchmarks.soak_providers import PROVIDERS, sandbox_of

HOME = Path(batcher.__file__).parent.parent
COMMAND = [sys.executable, "-W", "error", "-m", "benchmarks.soak"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HOME)}


@pytest.mark.parametrize(("provider", "backend"), [("hubspot", "trio"), ("salesforce", "asyncio")])
def test_the_soak_runs_and_finds_the_writer_well(provider, backend):
    """Every caller told, every outcome borne out by the sandbox, tasks and file descriptors back where they began."""
    options = ["--minutes", "0.1", "--callers", "50", "--provider", provider, "--backend", backend]
    run = subprocess.run([*COMMAND, *options], cwd=HOME, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("\nwell\n")
    assert run.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_soak_and_its_sandbox(number):
    """Whatever stops it, no sandbox is left behind: its end of the pipe closes."""
    with subprocess.Popen(
        [*COMMAND, "--callers", "50"],
        cwd=HOME,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        # What a shell has put into the background ignores Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        try:
            assert "records/s" in process.stdout.readline()
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(number)
            assert process.wait(60) == 130
            assert not Path(f"/proc/{child}").exists()
        finally:
            process.kill()


def test_the_soak_sees_that_a_told_outcome_is_not_so():
    """HubSpot says nothing of a delete. One that drops them all makes everybody be told what is not so."""
    dropped = [Fault("drop", times=None, records=100, path="/batch/archive")]
    provider = attrs.evolve(PROVIDERS["hubspot"], particular=dropped)
    reasons: list[str] = []
    for minutes in (0.1, 0.5, 2.0):  # a busy machine may delete nothing in six seconds
        options = argparse.Namespace(minutes=minutes, callers=200, seed=1)
        with sandbox_of(provider, rounds=5, seed=1, seconds=240) as (address, pid):
            reasons = anyio.run(Soak(options, provider, address, pid).run)
        if reasons:
            break
    assert "contradictions" in reasons[0]
    assert all("told: deleted" in reason for reason in reasons[1:])


YES, NO, MAYBE = Written(), NotWritten("closed"), Unknown("lost")


def row(number: int, value: int, *, id: str = "7", archived: bool = False) -> dict[str, object]:
    return {"id": id, "archived": archived, "fields": {"n": str(number), "v": str(value)}}


@pytest.mark.parametrize(
    ("told", "rows", "contradiction"),
    [
        ([(0, YES)], [row(0, 0)], None),
        ([(0, YES)], [], "absent, and its caller was told: there with 0"),
        ([(0, NO)], [], None),
        ([(0, NO)], [row(0, 0)], "there with 0, and its caller was told: absent"),
        ([(0, MAYBE)], [], None),
        ([(0, None)], [row(0, 0)], None),
        ([(0, YES), (1, YES), (2, YES)], [row(0, 1)], "there with 1, and its caller was told: there with 2"),
        ([(0, YES), (1, MAYBE), (2, YES)], [row(0, 1)], None),
        ([(0, YES), (1, NO)], [row(0, 1)], "there with 1"),
        ([(0, YES), (DELETED, YES)], [row(0, 0, archived=True)], None),
        ([(0, YES), (DELETED, YES)], [row(0, 0)], "told: deleted"),
        ([(0, YES)], [row(0, 0), row(0, 0, id="8")], "is there 2 times"),
        ([(0, MAYBE)], [row(0, 0), row(0, 0, id="8")], "is there 2 times"),
        ([(0, YES)], [row(0, 0, id="8")], "another id"),
        ([], [row(5, 0)], "nobody has written it"),
    ],
)
def test_what_was_told_is_compared_with_what_is_there(told, rows, contradiction):
    """Yes is there and right, no is not there, maybe is either; nothing is there twice, or under a neighbour's id."""
    ledger = Ledger("round_{}", settling=0.0)
    among = ledger.current
    if told:
        kept = ledger.new(among)
        for value, outcome in told:
            kept.note(value, outcome)
        kept.id = "7" if told[0][1] is YES else None
    ledger.turn()
    ledger.compare(among, rows)
    assert ledger.held == 0 and among not in ledger.rounds
    if contradiction is None:
        assert ledger.contradictions == []
    else:
        assert ledger.contradicted == 1 and contradiction in ledger.contradictions[0]


def test_a_round_is_compared_when_nothing_can_happen_to_it_any_more():
    """Not while it is the current one, and not while an action of it goes on."""
    ledger = Ledger("round_{}", settling=0.0)
    among = ledger.current
    assert ledger.settled() == []
    with among.action():
        ledger.turn()
        assert ledger.settled() == []
    assert ledger.settled() == [among]


def sample(minutes: float, resident: float, held: int = 0) -> Sample:
    zeros = dict.fromkeys(("objects", "tasks", "fds", "settled", "calls", "pending", "waiting", "lanes"), 0)
    return Sample(at=60 * minutes, resident=resident, held=held, outcomes={}, **zeros)


def test_a_descriptor_that_is_left_over_is_seen(tmp_path):
    """A file or a socket is; that by which a library holds its own file is none of ours."""
    library, file = tmp_path / "libffi.so.8", tmp_path / "file"
    library.touch(), file.touch()
    before = open_fds()
    with library.open():
        assert open_fds() == before
    with file.open(), socket.socket():
        assert open_fds() == before + 2
    assert open_fds() == before


def test_growth_is_that_of_the_second_half():
    """What warming up takes is no growth, and what the soak itself keeps is none of the library's."""
    grown = [sample(n, 100.0 * n) for n in range(10)] + [sample(n, 1000.0 + 2 * n) for n in range(10, 20)]
    assert growth(grown) == pytest.approx(2.0)
    assert growth(grown[:1]) == 0.0
    held = [sample(n, 100.0 + 1000 * n * KEPT_MB, held=1000 * n) for n in range(10)]
    assert growth(held) == pytest.approx(0.0)
    released = [sample(n, 100.0, held=1000 - 100 * n) for n in range(10)]
    assert growth(released) == pytest.approx(0.0)
