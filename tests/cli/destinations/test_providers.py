"""``batcher load`` and ``batcher serve`` with HubSpot and Salesforce behind them: stand-ins on real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from batcher.__main__ import main
from batcher.cli.destinations.choosing import FOR_A_SERVER, destination_of
from batcher.cli.serve import command as serve
from batcher.sandbox import Fault, HubSpotSandbox, SalesforceObject, SalesforceSandbox, Sandbox
from batcher.server._service import LIMITS
from tests.cli.conftest import write_csv
from tests.cli.serving import Server
from tests.sandbox.served import served

HUBSPOT_APP = {
    "HUBSPOT_CLIENT_ID": HubSpotSandbox.CLIENT_ID,
    "HUBSPOT_CLIENT_SECRET": HubSpotSandbox.CLIENT_SECRET,
    "HUBSPOT_REFRESH_TOKEN": HubSpotSandbox.REFRESH_TOKEN,
}
HUBSPOT_TOKEN = {"HUBSPOT_TOKEN": HubSpotSandbox.TOKEN}
SALESFORCE_APP = {
    "SALESFORCE_CLIENT_ID": SalesforceSandbox.CLIENT_ID,
    "SALESFORCE_CLIENT_SECRET": SalesforceSandbox.CLIENT_SECRET,
}
SALESFORCE_TOKEN = {"SALESFORCE_ACCESS_TOKEN": SalesforceSandbox.TOKEN}
# No value of any variable may be seen; those of the stand-ins' ids are words that others use.
SECRETS = [HubSpotSandbox.TOKEN, HubSpotSandbox.CLIENT_SECRET, HubSpotSandbox.REFRESH_TOKEN, SalesforceSandbox.TOKEN]
ASSOCIATED = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}


@pytest.fixture(autouse=True)
def nothing_else_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("BATCHER_API_KEY", "open-sesame")
    for name in (*HUBSPOT_APP, *HUBSPOT_TOKEN, *SALESFORCE_APP, *SALESFORCE_TOKEN):
        monkeypatch.delenv(name, raising=False)
    for name in ("SALESFORCE_USERNAME", "SALESFORCE_PRIVATE_KEY_FILE", "SALESFORCE_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)


@attrs.frozen
class Provider:
    """A stand-in, and how the command is told to write there."""

    sandbox: Sandbox
    object: str
    name_field: str
    to: list[str]
    """The arguments."""
    name: str
    """In the results file."""


@contextmanager
def hubspot() -> Iterator[Provider]:
    with HubSpotSandbox() as sandbox, served(sandbox) as address:
        url = f"http://{address}"
        yield Provider(
            sandbox, "contacts", "lastname", ["--to", "hubspot", "--base-url", f"{url}/"], f"hubspot at {url}"
        )


@contextmanager
def salesforce() -> Iterator[Provider]:
    contact = SalesforceObject(required=["LastName"], external_ids=["email"])
    with SalesforceSandbox(objects={"Contact": contact}) as sandbox, served(sandbox) as address:
        to = f"salesforce:http://{address}"
        yield Provider(sandbox, "Contact", "LastName", ["--to", to], to)


PROVIDERS: dict[str, Any] = {"hubspot": hubspot, "salesforce": salesforce}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


# Load


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("hubspot", HUBSPOT_TOKEN),
        ("hubspot", HUBSPOT_APP),
        ("salesforce", SALESFORCE_TOKEN),
        ("salesforce", SALESFORCE_APP),
    ],
)
def test_a_file_is_loaded_and_changed(
    kind: str, variables: dict[str, str], load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In full batches, each line with its own id although calls are throttled; then upserted, updated and deleted by what
    the results say. One bad line costs itself. No secret is shown.
    """
    set_all(monkeypatch, variables)
    printed = ""

    def run(code: int, rows: list[dict[str, str]], *more: str) -> Any:
        nonlocal printed
        write_csv(load.input, rows)
        load.results.unlink(missing_ok=True)
        given = load.main("load", str(load.input), "--object", provider.object, *provider.to, *more)
        assert given[0] == code, given
        printed += given[1] + given[2] + load.results.read_text()
        return load.outcomes()

    with PROVIDERS[kind]() as provider:
        name = provider.name_field
        people = [{"email": f"{n}@example.com", name: f"Name {n}"} for n in range(450)]
        provider.sandbox.faults.order(Fault("throttle", path="objects", code="SECONDLY"))
        bad = {"email": "none", name: ""}
        outcomes = run(1, [*people, bad])
        full = 100 if kind == "hubspot" else 200
        assert sorted(map(len, load.marks()), reverse=True)[:2] == [full, full]
        stored = {row["id"]: row["fields"] for row in provider.sandbox.records(provider.object)}
        ids: list[Any] = [outcomes[line].get("id") for line in range(2, 452)]
        assert [stored[each]["email"] for each in ids] == [person["email"] for person in people]
        assert (len(stored), outcomes[452]["outcome"], outcomes[452]["applied"]) == (450, "rejected", "no")

        upserts = [{"email": person["email"], "phone": "1"} for person in people[:20]]
        named = [{**row, name: "x"} for row in upserts]
        outcomes = run(0, named, "--type", "upsert", "--by", "email")
        assert {outcome["outcome"] for outcome in outcomes.values()} == {"written"}
        run(0, [{"id": each, "phone": "2"} for each in ids[:10]], "--type", "update")
        run(0, [{"id": each} for each in ids[-50:]], "--type", "delete")
        stored = {row["id"]: row["fields"] for row in provider.sandbox.records(provider.object)}

    assert [stored[each].get("phone") for each in ids[:21]] == ["2"] * 10 + ["1"] * 10 + [None]
    assert len(stored) == 400
    assert f'"to": "{provider.name}"' in printed
    assert not any(secret in printed for secret in SECRETS)


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("hubspot", {"HUBSPOT_TOKEN": "swordfish"}),
        ("hubspot", HUBSPOT_APP | {"HUBSPOT_CLIENT_SECRET": "swordfish"}),
        ("salesforce", {"SALESFORCE_ACCESS_TOKEN": "swordfish"}),
        ("salesforce", SALESFORCE_APP | {"SALESFORCE_CLIENT_SECRET": "swordfish"}),
    ],
)
def test_wrong_credentials_write_nothing(
    kind: str, variables: dict[str, str], load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Every line is known not to be there, and the load stops by itself before the end of the file.
    """
    set_all(monkeypatch, variables)
    load.write_input(6_000)

    with PROVIDERS[kind]() as provider:
        code, out, err = load.main("load", str(load.input), "--object", provider.object, *provider.to)
        assert provider.sandbox.records(provider.object) == []

    assert (code, "Stopped: " in out) == (3, True)
    assert set(load.applied().values()) == {"no"}
    assert len(load.applied()) < 6_000
    assert "swordfish" not in out + err + load.results.read_text()


def test_credentials_from_a_file(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The file alone counts, not the environment; a key of an app signs for its user. What the file holds of others,
    comments and quotes do no harm.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(*form))
    file = tmp_path / "credentials"
    file.write_text(
        f"# of ours\n\nHUBSPOT_TOKEN={HubSpotSandbox.TOKEN}\nSALESFORCE_CLIENT_ID = '{SalesforceSandbox.CLIENT_ID}'\n"
        f"SALESFORCE_USERNAME=ada@example.com\nSALESFORCE_PRIVATE_KEY_FILE={tmp_path / 'key.pem'}\n"
        'SALESFORCE_AUDIENCE="https://test.salesforce.com"\nSALESFORCE_CLIENT_SECRET=\n'
    )
    monkeypatch.setenv("HUBSPOT_TOKEN", "swordfish")
    monkeypatch.setenv("SALESFORCE_ACCESS_TOKEN", "swordfish")
    for kind in PROVIDERS:
        with PROVIDERS[kind]() as provider:
            write_csv(load.input, [{provider.name_field: "x", "email": "ada@example.com"}])
            results = str(tmp_path / f"{kind}.jsonl")
            more = ("--credentials-file", str(file), "--results", results)
            assert load.main("load", str(load.input), "--object", provider.object, *provider.to, *more)[0] == 0
            assert len(provider.sandbox.records(provider.object)) == 1


NONE = (
    "there are no credentials for HubSpot in the environment: set HUBSPOT_TOKEN; or HUBSPOT_CLIENT_ID, "
    "HUBSPOT_CLIENT_SECRET and HUBSPOT_REFRESH_TOKEN, or give --credentials-file FILE"
)
ORG = ["--to", "salesforce:https://a.my.salesforce.com"]


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        ({}, ["--to", "hubspot"], NONE),
        ({"HUBSPOT_TOKEN": " "}, ["--to", "hubspot"], NONE),
        ({}, [*ORG, "--credentials-file", "empty"], "there are no credentials for Salesforce in empty: set SALES"),
        (
            {"SALESFORCE_CLIENT_ID": "swordfish"},
            ORG,
            "the environment has SALESFORCE_CLIENT_ID for Salesforce, but not SALESFORCE_CLIENT_SECRET; or "
            "SALESFORCE_USERNAME and SALESFORCE_PRIVATE_KEY_FILE",
        ),
        (
            {"HUBSPOT_TOKEN": "swordfish", "HUBSPOT_CLIENT_ID": "swordfish"},
            ["--to", "hubspot"],
            "credentials for HubSpot in the environment that do not go together: HUBSPOT_TOKEN and HUBSPOT_CLIENT_ID",
        ),
        ({"HUBSPOT_TOKEN": "sword fish"}, ["--to", "hubspot"], "HubSpot: token must be visible ASCII"),
        ({"SALESFORCE_ACCESS_TOKEN": "sword fish"}, ORG, "Salesforce: access_token must be visible ASCII"),
        (HUBSPOT_TOKEN, ["--to", "hubspot", "--base-url", "http://u:swordfish@a"], "must hold no credentials"),
        (SALESFORCE_TOKEN, ["--to", "salesforce:https://u:swordfish@a"], "must hold no credentials"),
        (SALESFORCE_TOKEN, ["--to", "salesforce:a"], "instance_url must be the address of a server"),
        ({}, ["--to", "salesforce"], "salesforce:ADDRESS, not 'salesforce'"),
        ({}, ["--to", "hubspot:swordfish"], "salesforce:ADDRESS, not 'hubspot:...'"),
        ({}, ["--to", "hubspot", "--unique", "n"], "--unique belongs to --to sqlite:PATH, not to hubspot"),
        ({}, ["--to", "hubspot", "--credentials-file", "missing"], "missing cannot be read: No such file"),
        ({}, ["--to", "hubspot", "--credentials-file", "wrong"], "wrong: line 2 must be NAME=VALUE"),
        ({}, ["--to", "hubspot", "--credentials-file", "latin"], "latin is not UTF-8"),
        (
            {"SALESFORCE_CLIENT_ID": "a", "SALESFORCE_USERNAME": "b", "SALESFORCE_PRIVATE_KEY_FILE": "missing"},
            ORG,
            "the private key missing cannot be read",
        ),
        (
            {"SALESFORCE_CLIENT_ID": "a", "SALESFORCE_USERNAME": "b", "SALESFORCE_PRIVATE_KEY_FILE": "wrong"},
            ORG,
            "private_key must be an RSA private key in PEM form",
        ),
    ],
)
@pytest.mark.parametrize("command", ["load", "serve"])
def test_what_is_missing_is_named(
    command: str,
    variables: dict[str, str],
    arguments: list[str],
    words: str,
    load: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Exit code 2, a sentence with the names of variables and without any value, and nothing begins.
    """
    monkeypatch.chdir(load.folder)
    set_all(monkeypatch, variables)
    Path("empty").write_text("# nothing yet\n")
    Path("wrong").write_text("# one\nswordfish\n")
    Path("latin").write_bytes(b"HUBSPOT_TOKEN=\xe9\n")
    load.write_input(3)
    begin = ["load", str(load.input), "--object", "contacts"] if command == "load" else ["serve", "--port", "0"]

    code, out, err = load.main(*begin, *arguments)

    assert (code, out) == (2, "")
    assert words in err
    assert "swordfish" not in err
    assert not load.results.exists()


def test_a_signature_needs_an_extra(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A sentence that says what to install, and exit code 2.
    """
    monkeypatch.chdir(load.folder)
    monkeypatch.setitem(sys.modules, "jwt", None)
    Path("key.pem").write_text("a key")
    app = {"SALESFORCE_CLIENT_ID": "a", "SALESFORCE_USERNAME": "b", "SALESFORCE_PRIVATE_KEY_FILE": "key.pem"}
    set_all(monkeypatch, app)
    load.write_input(3)

    code, _, err = load.main("load", str(load.input), "--object", "Contact", *ORG)

    assert (code, "pip install 'saas-batcher[salesforce]'" in err) == (2, True)


def test_salesforce_takes_an_address_and_no_other_server(load: Any) -> None:
    """
    --base-url would contradict the address in --to; a secret cannot be given as an argument.
    """
    load.write_input(3)
    given = ["load", str(load.input), "--object", "Contact", *ORG]

    code, _, err = load.main(*given, "--base-url", "http://127.0.0.1:8081")
    assert (code, "--base-url belongs to --to ampersand:PROJECT/INTEGRATION or hubspot, not to salesforce" in err) == (
        2,
        True,
    )
    for argument in ("--token", "--access-token", "--client-secret"):
        assert load.main(*given, argument, "x")[0] == 2
    for command in ("load", "serve"):
        assert main([command, "--help"]) == 0


# Serve


@contextmanager
def serving(provider: Provider, folder: Path, *more: str) -> Iterator[Server]:
    server = Server(folder).start(*provider.to, *more)
    try:
        yield server
        code, out, err = server.stop()
        assert (code, [line for line in err.splitlines() if "stopping" not in line]) == (0, [])
        assert not any(secret in out + err for secret in SECRETS)
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def test_the_write_api_in_front_of_hubspot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Creates and updates with associations, all or none, and deletion of what may be deleted, reach HubSpot. That an
    association failed is a warning on a success.
    """
    set_all(monkeypatch, HUBSPOT_TOKEN)
    with hubspot() as provider, serving(provider, tmp_path, "--allow-delete", "contacts") as server:
        sandbox = provider.sandbox
        company = server.write(object="companies", record={"name": "Acme"}).json()["result"]["recordId"]
        link = {"to": {"id": company}, "types": [ASSOCIATED]}
        ada = server.write(record={"email": "ada@example.com"}, associations=[link]).json()["result"]["recordId"]
        bob = server.write(record={"email": "bob@example.com"}).json()["result"]["recordId"]
        assert [each["from_id"] for each in _associations(sandbox, "contacts")] == [ada]

        unnamed = server.write(type="update", record={"id": bob, "phone": "1"}, associations=[link])
        assert (unnamed.status_code, "to.objectType" in unnamed.text) == (400, True)
        named = {**link, "to": {"id": company, "objectType": "companies"}}
        answer = server.write(type="update", record={"id": bob, "phone": "1"}, associations=[named]).json()
        assert (answer["result"]["success"], answer.get("warnings")) == (True, None)
        assert {each["from_id"] for each in _associations(sandbox, "contacts")} == {ada, bob}
        lost = {**named, "to": {"id": "999", "objectType": "companies"}}
        answer = server.write(type="update", record={"id": ada, "phone": "2"}, associations=[lost]).json()
        assert (answer["result"]["success"], len(answer["warnings"])) == (True, 1)

        pair = [{"record": {"email": "ada@example.com"}}, {"record": {"email": "cy@example.com"}}]
        whole = server.write(batch=pair, batchPolicy={"allOrNone": True}).json()
        assert [each["success"] for each in whole["results"]] == [False, False]
        parted = server.write(batch=pair).json()
        assert [each["success"] for each in parted["results"]] == [False, True]

        assert server.write(type="delete", object="companies", record={"id": company}).status_code == 403
        assert server.write(type="delete", record={"id": ada}).status_code == 200
        stored = {row["fields"]["email"]: row["fields"].get("phone") for row in sandbox.records("contacts")}
        assert stored == {"bob@example.com": "1", "cy@example.com": None}


def test_the_write_api_in_front_of_salesforce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Headers, all or none and deletion reach Salesforce; associations, which it has not, are refused in words. A session
    that has expired is replaced and nobody notices.
    """
    set_all(monkeypatch, SALESFORCE_APP)
    with salesforce() as provider, serving(provider, tmp_path, "--allow-delete", "Contact") as server:
        sandbox, seen = provider.sandbox, _headers_of(provider.sandbox, monkeypatch)

        def write(**members: Any) -> Any:
            return server.write(object="Contact", **members).json()

        header = {"key": "Sforce-Duplicate-Rule-Header", "value": "allowSave=true"}
        ada = write(record={"LastName": "Ada", "email": "ada@example.com"}, headers=[header])["result"]["recordId"]
        assert "allowSave=true" in seen
        sandbox.faults.order(Fault("expire"))
        assert write(type="update", record={"id": ada, "Phone": "1"})["result"]["success"]
        assert sandbox.faults.struck == {"expire": 1}

        pair = [{"record": {"LastName": "Bob"}}, {"record": {"FirstName": "Cy"}}]
        whole = write(batch=pair, batchPolicy={"allOrNone": True})
        assert [each["data"]["outcome"] for each in whole["results"]] == ["rolled_back", "rejected"]
        assert [each["success"] for each in write(batch=pair)["results"]] == [True, False]
        link = {"to": {"id": ada}, "types": [ASSOCIATED]}
        refused = server.write(object="Contact", record={"LastName": "Dan"}, associations=[link])
        assert (refused.status_code, "set the lookup field" in refused.text) == (400, True)

        assert server.write(object="Account", type="delete", record={"id": ada}).status_code == 403
        assert write(type="delete", record={"id": ada})["result"]["success"]
        assert [row["fields"]["LastName"] for row in sandbox.records("Contact")] == ["Bob"]


@pytest.mark.parametrize("kind", list(PROVIDERS))
def test_a_call_ends_before_the_server_gives_it_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the command says of the server's limit is so; and the associations of HubSpot come in time, too.
    """
    set_all(monkeypatch, HUBSPOT_TOKEN | SALESFORCE_TOKEN)
    arguments = _parsed(["serve", "--to", "hubspot" if kind == "hubspot" else ORG[1]])
    destination: Any = destination_of(arguments, FOR_A_SERVER)[0]

    assert arguments.call_timeout == LIMITS.call_timeout
    timeout = destination._sender._timeout
    assert 0 < timeout + getattr(destination, "_links_timeout", 0.0) < LIMITS.call_timeout


def _parsed(arguments: list[str]) -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(arguments[1:])


def _associations(sandbox: Sandbox, object: str) -> list[Any]:
    return sandbox.store.associations(object)


def _headers_of(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the values of all header fields that come from here on."""
    seen: set[str] = set()
    inner = sandbox._admit

    def admit(request: Any) -> None:
        seen.update(request.headers.values())
        inner(request)

    monkeypatch.setattr(sandbox, "_admit", admit)
    return seen


def test_why_nothing_is_written_is_said_on_stderr(tmp_path: Path) -> None:
    """
    In a process of its own, as a user runs it: a line of the library, without the token; stdout has the summary only.
    """
    write_csv(tmp_path / "c.csv", [{"email": f"{n}@example.com", "lastname": "x"} for n in range(3)])
    token = "pat-na1-revoked"
    with hubspot() as provider:
        run = subprocess.run(
            [sys.executable, "-m", "batcher", "load", str(tmp_path / "c.csv"), "--object", "contacts", *provider.to],
            env={**os.environ, "HUBSPOT_TOKEN": token, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert run.returncode == 3
    assert "WARNING batcher: HubSpot, contacts" in run.stderr
    assert "401" in run.stderr
    assert "WARNING" not in run.stdout
    assert token not in run.stdout + run.stderr
