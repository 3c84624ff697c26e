"""``batcher serve``, in a process of its own: it starts, serves, drains, and says what is wrong."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from batcher.__main__ import main
from batcher.cli.serve import command as serve

ASYNCHRONOUS = {"mode": "asynchronous", "autoBatchPolicy": {"maxDelayMinutes": 60}}


def test_it_says_where_it_is_and_serves(server: Any) -> None:
    """
    One line with the real port, then answers; no word on stderr, and no server named in the headers.
    """
    server.start("--unique", "contacts.email", "--required", "contacts.email")

    assert server.line.startswith("Serving the Write API at http://127.0.0.1:")
    answer = server.write(record={"email": "ada@example.com"})
    assert (answer.status_code, answer.json()["result"]) == (200, {"success": True, "recordId": "1"})
    assert "server" not in answer.headers
    assert server.write(record={"email": "ada@example.com"}).status_code == 422
    assert server.write(record={"name": "Ada"}).status_code == 422
    for path in ("/healthz", "/metrics", "/openapi.json"):
        assert server.request("GET", path).status_code == 200
    code, out, err = server.stop()
    assert (code, out, [line for line in err.splitlines() if "stopping" not in line]) == (0, "", [])
    assert server.rows() == [{"email": "ada@example.com", "id": "1"}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_what_waits_in_a_window(server: Any, number: signal.Signals) -> None:
    """
    Records of a window that stays open for an hour are in the database when it ends, and it ends with 0.
    """
    server.start()
    for email in ("ada@example.com", "bob@example.com"):
        assert server.write(**ASYNCHRONOUS, record={"email": email}).status_code == 200
    assert server.rows() == []

    assert server.stop(number)[0] == 0
    assert [row["email"] for row in server.rows()] == ["ada@example.com", "bob@example.com"]


def test_a_signal_finishes_requests_under_way(server: Any) -> None:
    """
    A client that waits for its answer gets it.
    """
    server.start(delay=1.0)
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(server.write(record={"email": "ada@example.com"})))
    client.start()
    server.wait_until_under_way(1)

    assert server.stop()[0] == 0
    client.join()
    assert answers[0].json()["result"] == {"success": True, "recordId": "1"}


def test_a_request_that_hangs_is_answered_within_the_shutdown_timeout(server: Any) -> None:
    """
    Its record may have been written, and the client is told so; the connection is not broken off.
    """
    server.start("--shutdown-timeout", "1", hang_before=0)
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(server.write(record={"email": "ada@example.com"})))
    client.start()
    server.wait_until_under_way(1)
    code, _, err = server.stop()
    client.join()
    assert (code, "connections broken off" in err, "Traceback" in err) == (0, False, False)
    assert "the shutdown timeout of 1 s passed: 1 records are unknown" in err
    assert answers[0].json()["result"]["data"]["applied"] == "maybe"


def test_a_second_signal_aborts(server: Any) -> None:
    """
    A call that hangs is not waited for: exit code 130, and the log counts what nobody knows of.
    """
    server.start("--shutdown-timeout", "1000", hang_before=0)
    assert server.write(mode="asynchronous", record={"email": "ada@example.com"}).status_code == 200
    assert server.write(**ASYNCHRONOUS, record={"email": "bob@example.com"}).status_code == 200
    server.wait_until_under_way(2)
    server.process.send_signal(signal.SIGTERM)
    assert "stopping" in server.read_error()

    code, _, err = server.stop()
    assert (code, "Traceback" in err) == (130, False)
    # How many of the two are in the call that hangs depends on who was faster.
    left = re.search(r"(\d) records are unknown, (\d) are not written", err)
    assert left is not None and int(left[1]) + int(left[2]) == 2
    assert server.rows() == []


def test_a_client_that_hangs_does_not_keep_it(server: Any) -> None:
    """
    Half a body is waited for no longer than --shutdown-timeout.
    """
    server.start("--shutdown-timeout", "1")
    host, _, port = server.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        head = (
            "POST /v1/projects/demo/integrations/crm/objects/contacts HTTP/1.1\r\nhost: a\r\nx-api-key: open-sesame\r\n"
        )
        client.sendall(f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{".encode())
        # An answer to somebody who came later means that the server has seen the first one.
        assert server.request("GET", "/healthz").status_code == 200
        code, _, err = server.stop()
    assert (code, "connections broken off: 1" in err, "Traceback" in err) == (0, True, False)


def test_keys_from_a_file(server: Any) -> None:
    """
    Each key of the file is let in, comments and the variable of the environment are not.
    """
    keys = server.folder / "keys"
    keys.write_text("# ours\nfirst-key\n\n  second-key  \n")
    server.start("--api-key-file", str(keys), key="of-the-environment")

    answers = [server.write(record={"n": 1}, key=key).status_code for key in ("first-key", "second-key")]
    assert answers == [200, 200]
    for key in ("# ours", "of-the-environment", "third-key"):
        assert server.write(record={"n": 1}, key=key).status_code == 401
    _, out, err = server.stop()
    assert not any(key in out + err for key in ("first-key", "second-key", "of-the-environment", "third-key"))


def test_only_what_is_allowed(server: Any) -> None:
    """
    Deletion of the objects named, writes for the customers named, and no larger batch than said.
    """
    names = ("--installation", "demo", "crm")
    server.start("--allow-delete", "things", *names, "acme", *names, "globex", "--max-records", "2")

    for group, status in (("acme", 200), ("globex", 200), ("initech", 404)):
        assert server.write(groupRef=group, record={"name": group}).status_code == status
        assert server.write(groupRef=group, object="things", record={"name": group}).status_code == status
    assert server.write(type="delete", record={"id": "1"}).status_code == 403
    assert server.write(type="delete", object="things", record={"id": "1"}).status_code == 200
    operations = {server.write(**ASYNCHRONOUS, record={"n": n}).json()["operationId"] for n in range(4)}
    assert len(operations) == 2
    assert server.stop()[0] == 0
    assert len(server.rows()) == 6
    assert [row["name"] for row in server.rows("things")] == ["globex"]


def test_the_access_log_shows_no_payload(server: Any) -> None:
    """
    One line per request with its path and status, and neither the body nor the key.
    """
    server.start("--access-log")
    server.write(record={"email": "ada@example.com"})
    _, _, err = server.stop()

    assert '"POST /v1/projects/demo/integrations/crm/objects/contacts HTTP/1.1" 200' in err
    assert "ada@example.com" not in err
    assert "open-sesame" not in err


def test_other_machines_are_warned_of(server: Any) -> None:
    """
    An address that is not of this machine alone works, with a word on stderr.
    """
    server.start("--host", "0.0.0.0")

    assert "unencrypted" in server.read_error()
    assert server.stop()[0] == 0


@pytest.mark.parametrize(("signals", "code"), [(1, 0), (2, 130)])
def test_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: int, code: int) -> None:
    """
    The same, seen from inside: nothing stays open, and the signal is not raised again.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHER_API_KEY", "open-sesame")
    lines: list[str] = []

    def note(line: str, **options: Any) -> None:
        lines.append(line)
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(serve, "print", note, raising=False)

    assert main(["serve", "--port", "0"]) == code
    assert len(lines) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["batcher.db"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "crm.db"], "--to must be sqlite:PATH, hubspot or salesforce:ADDRESS, not 'crm.db'"),
        (["--to", "sqlite:"], "--to must be sqlite:PATH, hubspot or salesforce:ADDRESS"),
        (["--to", "sqlite:/missing/folder/x.db"], "cannot open the database"),
        (["--unique", "email"], "--unique must be OBJECT.FIELD"),
        (["--required", "contacts."], "--required must be OBJECT.FIELD"),
        (["--unique", "contacts.id"], "'id' must not be in unique"),
        (["--unique", "a b.email"], "object must be 1 to 63"),
        (["--port", "65536"], "--port must be from 0 to 65535"),
        (["--port", "http"], "invalid int value"),
        (["--host", "no..name"], "cannot listen on 'no..name'"),
        (["--max-records", "101"], "--max-records must be from 1 to 100, not 101"),
        (["--max-requests", "0"], "--max-requests must be at least 1, not 0"),
        (["--shutdown-timeout", "nan"], "--shutdown-timeout must be at least 0"),
        (["--installation", "demo", "crm"], "expected 3 arguments"),
        (["--api-key-file", "missing"], "missing cannot be read: No such file"),
        (["--api-key-file", "empty"], "empty holds none: write one key per line"),
        (["--api-key-file", "latin"], "latin is not UTF-8"),
        (["--api-key-file", "spaced"], "an API key must be visible ASCII"),
    ],
)
def test_wrong_arguments_are_a_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Exit code 2 and the reason on stderr; nothing is served.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHER_API_KEY", "open-sesame")
    Path("empty").write_text("# nothing yet\n\n")
    Path("latin").write_bytes(b"\xe9\n")
    Path("spaced").write_text("two words\n")

    assert main(["serve", "--port", "0", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert "two words" not in printed.err


def test_nobody_is_let_in_without_a_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    No key, no server, and the way out; a key cannot be given as an argument.
    """
    monkeypatch.delenv("BATCHER_API_KEY", raising=False)

    assert main(["serve", "--port", "0"]) == 2
    err = capsys.readouterr().err
    assert "BATCHER_API_KEY" in err
    assert "--api-key-file" in err
    assert main(["serve", "--api-key", "open-sesame"]) == 2


def test_a_port_in_use_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Exit code 2, and no database is made.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHER_API_KEY", "open-sesame")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2

    assert f"cannot listen on '127.0.0.1', port {port}: Address already in use\n" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["serve"], ["demo", "--http"]])
@pytest.mark.parametrize("module", ["starlette", "uvicorn", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(
    arguments: list[str], module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A sentence and exit code 2, no traceback.
    """
    monkeypatch.setitem(sys.modules, module, None)

    assert main(arguments) == 2
    assert "pip install 'saas-batcher[server]'" in capsys.readouterr().err


def test_the_command_starts_without_the_extra() -> None:
    """
    ``batcher load`` of somebody who serves nothing loads neither starlette nor uvicorn.
    """
    code = "import batcher.__main__, sys; print({'starlette', 'uvicorn', 'httpx'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert result.stdout == "set()\n"
