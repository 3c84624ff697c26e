"""Over real sockets: what the client of a broken connection sees, and what stays in a database file."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from batcher.sandbox import Fault, FaultKind, HubSpotSandbox
from tests.sandbox.served import served

BODY = b'{"inputs":[{"properties":{"email":"ada@example.com"}}]}'
HEAD = (
    "POST /crm/v3/objects/contacts/batch/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {HubSpotSandbox.TOKEN}\r\nContent-Length: {len(BODY)}\r\n"
)


def exchange(address: str, headers: str = "") -> bytes:
    """Send one request over a bare socket; return what comes back."""
    host, _, port = address.partition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(f"{HEAD}{headers}\r\n".encode() + BODY)
        while piece := connection.recv(65_536):
            received += piece
    return received


@pytest.mark.parametrize("status", [420, 423, 477, 521, 599])
def test_a_status_without_a_name_is_sent(status):
    """Providers and what stands before them have some of their own."""
    with HubSpotSandbox() as sandbox, served(sandbox) as address:
        sandbox.faults.order(Fault("error", status=status, html=True))
        assert exchange(address, "Connection: close\r\n").startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("applied", [False, True])
def test_a_reset_is_a_reset(applied):
    """The socket says so: not an orderly end, not a 500. The request was applied or not, as ordered."""
    with HubSpotSandbox() as sandbox, served(sandbox) as address:
        sandbox.faults.order(Fault("reset", applied=applied))
        with pytest.raises(ConnectionResetError):
            exchange(address)
        assert len(sandbox.records("contacts")) == int(applied)


def test_half_an_answer_is_half_an_answer():
    """Status and headers are whole and announce more than comes; then the connection ends."""
    with HubSpotSandbox() as sandbox, served(sandbox) as address:
        sandbox.faults.order(Fault("half"))
        head, _, body = exchange(address).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 ")
        (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]
        assert len(body) == length // 2
        assert len(sandbox.records("contacts")) == 1


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.RESET, httpx.ReadError), (FaultKind.HALF, httpx.RemoteProtocolError)]
)
def test_httpx_sees_a_transport_error(kind, error):
    """And the next request on the same client fares well."""
    with (
        HubSpotSandbox() as sandbox,
        served(sandbox) as address,
        httpx.Client(base_url=f"http://{address}", timeout=120) as client,
    ):
        headers = {"authorization": f"Bearer {sandbox.TOKEN}", "content-type": "application/json"}
        client.headers.update(headers)
        path = "/crm/v3/objects/contacts/batch/create"
        assert client.post(path, content=BODY).status_code == 201
        sandbox.faults.order(Fault(kind))
        with pytest.raises(error):
            client.post(path, content=BODY)
        assert client.post(path, content=BODY).status_code == 409


def test_a_database_file_is_found_again(tmp_path: Path):
    """Records, addresses and the count of ids outlive the sandbox."""
    path = tmp_path / "account.db"
    for status in (b"201", b"409"):
        with HubSpotSandbox(path) as sandbox, served(sandbox) as address:
            assert exchange(address, "Connection: close\r\n").startswith(b"HTTP/1.1 " + status)
            assert len(sandbox.records("contacts")) == 1
    with HubSpotSandbox(path) as sandbox:
        assert sandbox.store.next_number() == 2
