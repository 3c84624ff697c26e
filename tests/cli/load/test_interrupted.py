"""``batcher load``, interrupted, cancelled and killed: the results file and the database agree, always."""

from __future__ import annotations

import argparse
import os
import re
import signal
from time import monotonic
from typing import Any

import anyio
import pytest

from batcher.cli.load import command
from batcher.destinations import sqlite

BATCH = 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(load: Any, number: signal.Signals) -> None:
    """
    What was taken in is written, each line has an outcome, and --resume sends the rest, nothing twice.
    """
    load.write_input(8_000)
    process = load.start(delay=0.3)
    load.wait_until(lambda: len(load.outcomes()) >= BATCH, process=process)
    process.send_signal(number)
    code, out, err = load.end(process)

    assert (code, "Interrupted" in out, "Traceback" in err) == (130, True, False)
    assert re.search(r"stopping: [\d,]+ lines under way are waited for; Ctrl-C again aborts\n", err)
    assert 0 < len(load.rows()) < 8_000
    assert set(load.applied().values()) == {"yes"}
    load.assert_agreement()

    code, out, _ = load.run("--resume")
    assert (code, "written by an earlier run" in out) == (0, True)
    assert sum(map(len, load.marks())) == 8_000
    load.assert_agreement()
    load.assert_complete()


def test_a_second_signal_aborts(load: Any) -> None:
    """
    Calls that hang are not waited for: their lines are unknown, the others not written, and both are noted.
    """
    load.write_input(3_000)
    process = load.start(hang_before=2)
    load.wait_until(lambda: len(load.marks()) == 6 and len(load.outcomes()) == 2 * BATCH, process=process)
    hung = {line for line, state in load.applied().items() if state == "sending"}
    began = monotonic()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    code, out, _ = load.end(process)

    assert (code, monotonic() - began < 20) == (130, True)
    applied = load.applied()
    assert len(hung) == 4 * BATCH
    assert {line for line, state in applied.items() if state == "maybe"} >= hung
    assert "sending" not in applied.values()
    assert "Perhaps written: line" in out
    load.assert_agreement()

    # They did not arrive, but nobody here can know that: they are left alone until somebody says so.
    code, out, _ = load.run("--resume")
    assert (code, "left alone" in out) == (1, True)
    assert not hung & {int(row["n"]) for row in load.rows()}
    load.assert_agreement()
    assert load.run("--resume", "--resend-unknown")[0] == 0
    load.assert_agreement()
    load.assert_complete()


def test_killed_before_the_work(load: Any) -> None:
    """
    SIGKILL while calls are out that did not arrive: marked, left alone, and sent on demand.
    """
    load.write_input(3_000)
    process = load.start(hang_before=5)
    load.wait_until(lambda: len(load.marks()) == 9 and len(load.outcomes()) == 5 * BATCH, process=process)
    process.kill()
    load.end(process)

    hung = {line for line, state in load.applied().items() if state == "sending"}
    assert len(hung) == 4 * BATCH
    load.assert_agreement()

    code, out, _ = load.run("--resume")
    assert (code, "400  left alone" in out) == (1, True)
    assert len(load.rows()) == 2_600
    load.assert_agreement()

    assert load.run("--resume", "--resend-unknown")[0] == 0
    load.assert_agreement()
    load.assert_complete()


def test_killed_after_the_work(load: Any) -> None:
    """
    SIGKILL after the database took calls whose answers never came: not written twice, not denied.
    """
    load.write_input(3_000)
    process = load.start("--unique", "n", hang_after=5)
    load.wait_until(lambda: len(load.rows()) == 9 * BATCH and len(load.outcomes()) == 5 * BATCH, process=process)
    process.kill()
    load.end(process)
    load.assert_agreement()

    assert load.run("--resume", "--unique", "n")[0] == 1
    load.assert_agreement()
    load.assert_complete()

    # Refused as duplicates of themselves. That must not read as "not applied".
    code, out, _ = load.run("--resume", "--resend-unknown", "--unique", "n")
    assert (code, "400  rejected" in out, "Perhaps written" in out) == (1, True, False)
    assert "an earlier attempt may have been applied: lines " in out
    assert "--resend-unknown" not in out
    refused = [entry for entry in load.outcomes().values() if entry["outcome"] == "rejected"]
    assert {(entry["applied"], entry["errors"][0]["code"]) for entry in refused} == {("maybe", "DUPLICATE_VALUE")}
    load.assert_agreement()
    load.assert_complete()


def test_killed_anywhere(load: Any) -> None:
    """
    SIGKILL at whatever moment, again and again: each time the file agrees with the database, and it ends.
    """
    load.write_input(4_000)
    more: tuple[str, ...] = ()
    for _ in range(6):
        before = len(load.outcomes())
        process = load.start("--unique", "n", *more, delay=0.02)
        load.wait_until(lambda: len(load.outcomes()) > before or process.poll() is not None)  # noqa: B023
        process.kill()
        load.end(process)
        load.assert_agreement()
        more = ("--resume", "--resend-unknown")

    load.run("--resume", "--resend-unknown", "--unique", "n")
    load.assert_agreement()
    load.assert_complete()


def test_two_loads_at_once(load: Any) -> None:
    """
    The second one is refused; the lock of a killed one is gone with it.
    """
    load.write_input(1_000)
    process = load.start(hang_before=0)
    load.wait_until(lambda: bool(load.marks()), process=process)

    code, _, err = load.run("--resume")
    assert (code, "another load is writing" in err) == (2, True)

    process.kill()
    load.end(process)
    assert load.run("--resume", "--resend-unknown")[0] == 0
    load.assert_complete()


class Database:
    """Patches SQLite: from one call on, something happens in every ``send()``, before its work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, happens: Any) -> None:
        self.calls = 0
        send = sqlite.SQLite.send

        async def patched(database: sqlite.SQLite, *arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls >= number:
                await happens()
            return await send(database, *arguments, **options)

        monkeypatch.setattr(sqlite.SQLite, "send", patched)


def test_a_signal_in_this_process_drains(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same, seen from inside: every accepted record is written before the command ends.
    """

    async def interrupt() -> None:
        if database.calls == 3:
            os.kill(os.getpid(), signal.SIGINT)

    database = Database(monkeypatch, 3, interrupt)
    load.write_input(20_000)

    code, out, _ = load.run()

    assert (code, "Interrupted" in out) == (130, True)
    assert 0 < len(load.rows()) < 20_000
    assert set(load.applied().values()) == {"yes"}
    load.assert_agreement()


def test_two_signals_in_this_process_abort(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same, seen from inside: every accepted record has an outcome.
    """

    async def interrupt() -> None:
        if database.calls == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()

    database = Database(monkeypatch, 3, interrupt)
    load.write_input(20_000)

    code, _, _ = load.run()

    assert code == 130
    assert {"maybe", "no"} >= set(load.applied().values()) - {"yes"}
    load.assert_agreement()


def test_a_signal_at_the_end_changes_nothing(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When all was read and all is written, the load was not interrupted.
    """

    async def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.wait_all_tasks_blocked()

    Database(monkeypatch, 1, interrupt)
    load.write_input(10)

    code, out, _ = load.run()

    assert (code, "Interrupted" in out) == (0, False)
    load.assert_agreement()
    load.assert_complete()


def test_cancelled_from_outside(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A load inside somebody's cancel scope notes an outcome for each line it took, and sends nothing more.
    """
    load.write_input(5_000)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args(load.arguments()[1:])

    async def cancel_when_it_hangs() -> bool:
        reached = anyio.Event()

        async def hang() -> None:
            reached.set()
            await anyio.sleep_forever()

        Database(monkeypatch, 5, hang)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(command.load, arguments)
                await reached.wait()
                scope.cancel()
        return scope.cancelled_caught

    assert anyio.run(cancel_when_it_hangs)
    applied = load.applied()
    assert {"yes", "maybe", "no"} == set(applied.values())
    load.assert_agreement()

    monkeypatch.undo()
    load.run("--resume", "--resend-unknown", "--unique", "n")
    load.assert_agreement()
    load.assert_complete()
