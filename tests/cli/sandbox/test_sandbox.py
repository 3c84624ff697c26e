"""``batcher sandbox``: what it prints, what it serves, and how it ends."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import batcher
from batcher.__main__ import main
from batcher.cli._errors import CommandError
from batcher.cli._listening import Listener
from batcher.cli.sandbox import command
from batcher.sandbox import Fault, HubSpotSandbox, Sandbox

HOME = str(Path(batcher.__file__).parent.parent)


class Process:
    """The command, started; its first lines are read."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "batcher", "sandbox", *arguments, "--port", "0", "--for", "60"],
            cwd=HOME,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.lines: list[str] = []
        while not self.lines or not self.lines[-1].startswith("Faults: "):
            line = self._process.stdout.readline()
            assert line, self._process.communicate(timeout=120)[1]
            self.lines.append(line.strip())
        self.address = self.lines[0].partition(" at ")[2]
        self.token = next(line for line in self.lines if line.startswith("Token: ")).removeprefix("Token: ")

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=120)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self._process.send_signal(number)
        _, err = self._process.communicate(timeout=120)
        return self._process.returncode, err

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=120)


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_hubspot_for_anybody(start, number, tmp_path):
    """It prints address and token, serves, breaks connections on demand, and a signal ends it without an error."""
    process = start("hubspot", "--database", str(tmp_path / "account.db"), "--unique", "deals.ref")
    assert process.lines[0] == f"HubSpotSandbox at {process.address}"
    assert process.address.startswith("http://127.0.0.1:")
    with process.client() as client:
        body = {"inputs": [{"id": "7", "idProperty": "ref", "properties": {"dealname": "x"}}]}
        assert client.post("/crm/v3/objects/deals/batch/upsert", json=body).status_code == 200
        client.post("/sandbox/faults", json={"faults": [{"kind": "reset"}]})
        with pytest.raises(httpx.ReadError):
            client.post("/crm/v3/objects/deals/batch/upsert", json=body)
        (record,) = client.get("/sandbox/records/deals").json()["records"]
        assert record["fields"]["ref"] == "7"
    assert process.end(number) == (0, "")
    with HubSpotSandbox(tmp_path / "account.db") as sandbox:
        assert len(sandbox.records("deals")) == 1


def test_a_salesforce_for_anybody(start):
    """With credentials for a token, and fields that address records, also of types that it did not know."""
    process = start("salesforce", "--unique", "Contact.Ref__c", "--unique", "Thing__c.Ref__c")
    assert [line.partition(":")[0] for line in process.lines[1:-1]] == ["Token", "Client id", "Client secret"]
    with process.client() as client:
        path = "/services/data/v60.0/composite/sobjects"
        for kind in ("Contact", "Thing__c"):
            records = [{"attributes": {"type": kind}, "LastName": "x", "Ref__c": "1"}]
            answer = client.patch(f"{path}/{kind}/Ref__c", json={"records": records})
            assert answer.json()[0]["created"] is True
    assert process.end(signal.SIGINT)[0] == 0


@pytest.mark.parametrize(
    ("provider", "token"), [("hubspot", "pat-na1-sandbox"), ("salesforce", "00D000000000001!sandbox")]
)
def test_it_ends_by_itself(capsys, provider, token):
    """After the time that was given."""
    assert main(["sandbox", provider, "--port", "0", "--for", "0", "--unique", "contacts.ref", "--unique", "x.y"]) == 0
    assert f"Token: {token}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "invalid choice"),
        (["hubspot", "--port", "70000"], "--port must be from 0 to 65535"),
        (["hubspot", "--for", "-1"], "--for must be at least 0 seconds"),
        (["hubspot", "--for", "nan"], "--for must be at least 0 seconds"),
        (["salesforce", "--unique", "Contact"], "--unique must be OBJECT.FIELD"),
        (["hubspot", "--database", "/nowhere/at/all"], "cannot open the database"),
    ],
)
def test_wrong_arguments_are_refused(capsys, arguments, words):
    """A sentence and exit code 2."""
    assert main(["sandbox", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_without_the_server_it_says_what_to_install(capsys, monkeypatch):
    """A sentence and exit code 2."""
    monkeypatch.setattr("batcher.cli._errors.importlib.util.find_spec", lambda name: None if name == "uvicorn" else 1)
    assert main(["sandbox", "hubspot"]) == 2
    assert "pip install 'saas-batcher[server]'" in capsys.readouterr().err


def test_a_place_that_is_taken(capsys):
    """So that nobody talks to another server by mistake."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["sandbox", "hubspot", "--port", port]) == 2
    assert "cannot listen on '127.0.0.1'" in capsys.readouterr().err
    with pytest.raises(CommandError, match="no such name"):
        Listener.bind("no.such.name.invalid", 0)


def test_a_request_that_waits_is_broken_off(capsys, monkeypatch):
    """The end waits for a moment, not for a delay that was ordered."""
    monkeypatch.setattr(command, "_PATIENCE", 0.05)
    arguments = argparse.Namespace(provider="hubspot", database=":memory:", seed=0, unique=[])

    async def ask_and_end(sandbox: Sandbox) -> None:
        listener = Listener.bind("127.0.0.1", 0)
        headers = {"authorization": f"Bearer {sandbox.TOKEN}"}
        async with anyio.create_task_group() as tasks, httpx.AsyncClient(base_url=listener.address) as client:
            tasks.start_soon(command.serve, sandbox, listener, 0.5)
            with anyio.fail_after(120), pytest.raises(httpx.TransportError):
                await client.get("/crm/v3/objects/contacts/1", headers=headers)

    with command._sandbox(arguments) as sandbox:
        sandbox.faults.order(Fault("delay", seconds=600.0))
        anyio.run(ask_and_end, sandbox)
        assert sandbox.faults.struck == {"delay": 1}
    assert "HubSpotSandbox at" in capsys.readouterr().out
