"""The README: every block of Python runs, and prints what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.testclient import TestClient

from batcher.sandbox import HubSpotSandbox
from tests.cli.serving import Server
from tests.sandbox.served import served

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SIGNALLED = "open_signal_receiver"  # in a block that runs until it gets a signal
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", README, re.DOTALL | re.MULTILINE)

# As much of curl as the README needs, so that its lines are run where there is no curl.
CURL = """
import sys, httpx
arguments, headers, body = sys.argv[1:], {}, None
while arguments:
    argument = arguments.pop(0)
    if argument == "-H":
        name, _, value = arguments.pop(0).partition(": ")
        headers[name] = value
    elif argument == "-d":
        body = arguments.pop(0)
    elif argument != "-s":
        url = argument
print(httpx.request("GET" if body is None else "POST", url, headers=headers, content=body).text, end="")
"""


@pytest.mark.parametrize(
    ("code", "output"),
    [
        pytest.param(code, output, id=f"block {number}")
        for number, (code, output) in enumerate(BLOCKS, 1)
        if SIGNALLED not in code
    ],
)
def test_the_code_runs_and_prints_what_the_readme_says(code, output, tmp_path):
    """A reader who copies it gets what he was shown; warnings are errors."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout == output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_worker_drains_when_it_is_told_to_end(number, tmp_path):
    """Every job that it has taken is done or said to stay in the queue; it ends by itself, and without a traceback."""
    (code,) = [code for code, _ in BLOCKS if SIGNALLED in code]
    command = [sys.executable, "-u", "-W", "error", "-c", code]
    with (tmp_path / "errors").open("w") as errors:
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert worker.stdout is not None
    bound = threading.Timer(60, worker.kill)
    bound.start()
    try:
        lines = [worker.stdout.readline()]
        worker.send_signal(number)
        lines += worker.stdout  # not communicate(), which does not know what readline() has read ahead
        worker.wait()
    finally:
        bound.cancel()
        worker.kill()
        worker.stdout.close()
    assert (worker.returncode, (tmp_path / "errors").read_text()) == (0, "")
    told = [int(line.split()[0]) for line in lines]
    assert sorted(told) == list(range(len(told)))
    assert len([line for line in lines if "is done" in line]) >= len(told) - 1, "one may have come a moment too late"


# What stands around the handler of the README: a request whose record is in a call that hangs.
HOSTED = """
import logging
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import anyio
from batcher import Batcher, BatcherError, Limits

logging.basicConfig()

async def write(key, records):
    print("called", flush=True)
    await anyio.sleep_forever()

@asynccontextmanager
async def lifespan(app):
    async with Batcher(write, limits=Limits(call_timeout=3600)) as app.state.crm:
        ends_soon(app.state.crm)
        yield

async def signup(request):
    try:
        return PlainTextResponse(str(await app.state.crm.submit("ada")))
    except BatcherError as error:
        return PlainTextResponse(str(error), 503)

app = Starlette(lifespan=lifespan, routes=[Route("/", signup)])
"""


def _hosted() -> str:
    codes: list[str] = [code for code, _ in BLOCKS if "def ends_soon" in code]
    (code,) = codes
    assert "end_within(20)" in code
    return code.replace("end_within(20)", "end_within(0.2)") + HOSTED


def test_a_host_that_is_told_to_stop_answers_its_open_requests(tmp_path):
    """The handler of the README under a real uvicorn: who waits is told within the bound, and the host ends."""
    (tmp_path / "hosted.py").write_text(_hosted())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "uvicorn", "hosted:app", "--fd", str(listener.fileno())]
        with (tmp_path / "errors").open("w") as errors:
            host = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=[listener.fileno()],
            )
    assert host.stdout is not None
    bound = threading.Timer(60, host.kill)
    bound.start()
    try:
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(httpx.get, url, timeout=60)
            lines = iter(host.stdout.readline, "")
            assert any(line == "called\n" for line in lines), (tmp_path / "errors").read_text()
            host.send_signal(signal.SIGTERM)
            told = answer.result()
        code = host.wait()
    finally:
        bound.cancel()
        host.kill()
        host.stdout.close()
    assert told.status_code == 503
    assert "the shutdown timeout of 0.2 s passed" in told.text
    assert code in (0, -signal.SIGTERM), "uvicorn raises the signal again when it is done"
    logged = (tmp_path / "errors").read_text()
    assert "the shutdown timeout of 0.2 s passed: 1 records are unknown, 0 are not written" in logged


def test_an_app_with_that_handler_runs_in_a_test_client():
    """Which enters the lifespan in another thread, where no handler can be set; the one before stays."""
    names: dict[str, Any] = {}
    exec(compile(_hosted(), "hosted.py", "exec"), names)
    before = signal.getsignal(signal.SIGTERM)
    with TestClient(names["app"]):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def serving(tmp_path):
    server = Server(tmp_path)
    yield server.start("--unique", "contacts.email")
    server.process.kill()
    server.process.communicate()


def curls():
    """Return folders with a curl: a stand-in that is always there, and the real one where there is one."""
    return ["stand-in", *(["curl"] if shutil.which("curl") else [])]


@pytest.mark.parametrize("curl", curls())
def test_the_lines_of_curl_do_what_the_readme_says(curl, serving, tmp_path):
    """Run by a shell against a server, in order; then SIGTERM writes what still waits."""
    (lines,) = [
        block for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) if "write()" in block
    ]
    lines = lines.replace("http://127.0.0.1:8080", serving.address)
    folder = tmp_path / "bin"
    folder.mkdir()
    if curl == "stand-in":
        (folder / "curl").write_text(f"#!{sys.executable}\n{CURL}")
        (folder / "curl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    result = subprocess.run(
        ["sh", "-eu", "-c", lines], capture_output=True, text=True, timeout=60, env=environment, check=False
    )

    assert (result.returncode, result.stderr) == (0, "")
    single, batch, whole, operation, outcomes, deletion = map(json.loads, result.stdout.splitlines())
    assert single["result"] == {"success": True, "recordId": "1"}
    assert [each["success"] for each in batch["results"]] == [False, True]
    assert batch["results"][0]["data"]["errors"][0]["code"] == "DUPLICATE_VALUE"
    assert [each["data"]["outcome"] for each in whole["results"]] == ["rejected", "rolled_back"]
    assert operation["status"] == "in_progress"
    assert outcomes["results"] == [{"index": 0, "outcome": "in_progress", "applied": "maybe"}]
    assert (deletion["status"], deletion["detail"]) == (403, "deletion is not enabled for this object")
    assert serving.stop()[0] == 0
    assert [row["email"] for row in serving.rows()] == ["ada@example.com", "bob@example.com", "dan@example.com"]


def test_the_mounted_server_serves(tmp_path, monkeypatch):
    """Below a prefix of the host, and drained by its lifespan."""
    (code,) = [code for code, _ in BLOCKS if "Mount(" in code]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    app = names["app"]

    async def main() -> None:
        transport = httpx.ASGITransport(app)
        headers = {"x-api-key": "open-sesame"}
        path = "/crm/v1/projects/demo/integrations/crm/objects/contacts"
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://a", headers=headers) as client,
        ):
            body = {"groupRef": "acme", "type": "create", "record": {"email": "ada@example.com"}}
            answer = await client.post(path, json=body)
            assert answer.json()["result"] == {"success": True, "recordId": "1"}
            assert (await client.get("/crm/healthz")).status_code == 200
            assert (await client.get("/healthz")).status_code == 404

    anyio.run(main)


def test_the_lines_about_the_sandbox_do_what_they_say(tmp_path):
    """A fault is ordered and strikes, and the load tells which records may or may not be there; at a free port."""
    (lines,) = [
        block
        for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
        if "sandbox/faults" in block
    ]
    (tmp_path / "contacts.csv").write_text("email\nada@example.com\nbob@example.com\n")
    (tmp_path / "curl.py").write_text(CURL)
    with HubSpotSandbox() as sandbox, served(sandbox) as address:
        lines = lines.replace("127.0.0.1:8081", address).replace(".venv/bin/batcher", f"{sys.executable} -m batcher")
        lines = re.sub(r"^curl ", f"{sys.executable} curl.py ", lines, flags=re.MULTILINE)
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        result = subprocess.run(
            ["sh", "-u", "-c", lines],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            cwd=tmp_path,
            check=False,
        )
        assert sandbox.faults.struck == {"reset_applied": 1}
        assert len(sandbox.records("contacts")) == 2
    assert (result.returncode, "2  unknown" in result.stdout) == (3, True), result


def test_there_is_something_to_run():
    """Should the fences change, this notices."""
    assert len(BLOCKS) >= 5


def test_links_lead_somewhere():
    """Every link leads to a file or a heading that exists, and every promise of the table has tests named after it."""
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target[1:] in headings if target.startswith("#") else (ROOT / target).exists(), target
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for number in range(1, 15):
        assert f"def test_p{number:02}_" in tests


def test_the_fastapi_example_serves(tmp_path, monkeypatch):
    """The lifespan opens and drains the writer, and errors become status codes. On the real clock: it uses a file."""
    (code,) = [code for code, _ in BLOCKS if "FastAPI" in code]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    app = names["app"]

    async def main() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://a") as client,
        ):
            response = await client.post("/signup", json={"email": "ada@example.com"})
            assert response.json() == {"id": "1"}
            assert (await client.post("/signup", json={"email": "ada@example.com"})).status_code == 409
            assert (await client.post("/signup", json={})).status_code == 422
            assert (await client.post("/signup", content="no JSON")).status_code == 422
        assert (tmp_path / "crm.db").exists()

    anyio.run(main)
