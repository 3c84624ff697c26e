"""The command as such: help, version, what is missing, what is not imported."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import batcher
from batcher import __main__ as command
from batcher.__main__ import main
from batcher.cli._signals import watch_signals
from batcher.cli.demo import command as demo

HOME = str(Path(batcher.__file__).parent.parent)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=HOME, capture_output=True, text=True, timeout=120, check=False
    )


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Help and version are no errors; no command is one.
    """
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "demo" in out
    assert "load" in out
    assert main(["load", "--help"]) == 0
    assert "--resend-unknown" in capsys.readouterr().out
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--token", "s3cret"], ["--token=s3cret"]])
def test_an_unknown_option_is_answered_by_the_usage_of_its_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    There is what it takes. The value is not repeated: it may be a secret, and stderr is often kept.
    """
    assert main(["load", "contacts.csv", "--object", "contacts", "--to", "hubspot", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: batcher load ")
    assert err.endswith("batcher load: error: unrecognized arguments: --token\n")
    assert main(["load", "a.csv", "b.csv", "--object", "contacts", "--to", "hubspot"]) == 2
    assert "unrecognized arguments: b.csv" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The version of the library.
    """
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"batcher {batcher.__version__}\n"


def test_without_rich_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A sentence and exit code 2, no traceback.
    """
    monkeypatch.setitem(sys.modules, "rich", None)

    assert main(["demo"]) == 2
    assert "pip install 'saas-batcher[cli]'" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Ctrl-C outside of the event loop ends the command with exit code 130.
    """

    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupt)

    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "batcher demo: interrupted\n"


def test_the_demo_runs_in_full_scale_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    ``batcher demo`` takes no arguments and runs what its help promises.
    """
    scales: list[demo.Scale] = []

    async def note(scale: demo.Scale) -> int:
        scales.append(scale)
        return 0

    monkeypatch.setattr(demo, "demo", note)

    assert main(["demo"]) == 0
    assert scales == [demo.Scale(records=10_000, groups=4, callers=400, delay=0.05)]


def test_a_narrow_terminal_encoding_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the terminal cannot show is shown escaped.
    """
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    command._print_whatever_comes()
    print("Zürich", flush=True)

    assert raw.getvalue() == b"Z\\xfcrich\n"


def test_the_library_does_not_import_rich() -> None:
    """
    Neither the library nor the start of the command needs the extra.
    """
    code = "import batcher, batcher.__main__, sys; sys.exit('rich' in sys.modules)"

    assert python("-c", code).returncode == 0


def test_python_dash_m() -> None:
    """
    ``python -m batcher`` is the command.
    """
    result = python("-m", "batcher", "--version")

    assert (result.returncode, result.stdout.startswith("batcher ")) == (0, True)


def test_a_loop_without_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Windows: the watcher starts and ends, and Ctrl-C does what Python does.
    """

    def unsupported(*_: Any) -> Any:
        # No code that is missing: it is what add_signal_handler() of asyncio raises on Windows.
        raise NotImplementedError

    monkeypatch.setattr(anyio, "open_signal_receiver", unsupported)

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch_signals, lambda: None)

    anyio.run(watch)
