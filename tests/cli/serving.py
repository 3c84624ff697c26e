"""``batcher serve`` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
import httpx

import batcher
from tests.cli.conftest import COMMAND, PATIENCE_SECONDS

KEY = "open-sesame"


@attrs.define(eq=False)
class Server:
    """A server over ``crm.db`` in *folder*."""

    folder: Path
    process: subprocess.Popen[str] = attrs.field(init=False)
    address: str = attrs.field(default="", init=False)
    line: str = attrs.field(default="", init=False)
    """What it printed once it accepted connections."""

    def start(self, *more: str, key: str | None = KEY, delay: float = 0.0, hang_before: float = 1e9) -> Server:
        """Start it on a free port and wait until it accepts connections.

        :param key: for the variable of the environment
        :param delay: seconds that each call to the database takes
        :param hang_before: the number of the last call that is answered
        """
        environment = {name: value for name, value in os.environ.items() if name != "BATCHER_API_KEY"}
        if key is not None:
            environment["BATCHER_API_KEY"] = key
        arguments = ["serve", "--to", f"sqlite:{self.folder / 'crm.db'}", "--port", "0", *more]
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(delay), str(hang_before), "1e9", *arguments],
            env={**environment, "PYTHONPATH": str(Path(batcher.__file__).parent.parent)},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        with Alarm(self.process):
            self.line = self.process.stdout.readline()
        self.address = self.line.removeprefix("Serving the Write API at ").strip()
        return self

    def request(self, method: str, path: str, body: Any = None, *, key: str = KEY) -> httpx.Response:
        """Make one request below ``/v1/projects/demo``, or below the root if *path* begins with a slash."""
        url = self.address + (path if path.startswith("/") else f"/v1/projects/demo/{path}")
        content = None if body is None else json.dumps(body)
        headers = {"x-api-key": key, "content-type": "application/json"}
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            return client.request(method, url, content=content, headers=headers)

    def write(self, *, key: str = KEY, object: str = "contacts", **members: Any) -> httpx.Response:
        """Ask for a write; a create for ``acme`` unless *members* say otherwise."""
        body = {"groupRef": "acme", "type": "create", **members}
        return self.request("POST", f"integrations/crm/objects/{object}", body, key=key)

    def metric(self, name: str) -> float:
        """Return a figure of ``/metrics``."""
        lines = self.request("GET", "/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name + " "))

    def wait_until_under_way(self, records: int) -> None:
        """Return as soon as so many records are pending."""
        give_up_at = monotonic() + PATIENCE_SECONDS
        pause = threading.Event()
        while self.metric("batcher_pending_records") < records:
            assert monotonic() < give_up_at, "it never happened"
            pause.wait(0.01)

    def read_error(self) -> str:
        """Return the next line of stderr."""
        assert self.process.stderr is not None
        with Alarm(self.process):
            return self.process.stderr.readline()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal and wait for the end; return exit code, stdout and stderr from here on."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out, err

    def rows(self, object: str = "contacts") -> list[dict[str, Any]]:
        """Return what the database holds."""
        connection = sqlite3.connect(self.folder / "crm.db")
        try:
            rows = connection.execute(f'SELECT id, record FROM "{object}" ORDER BY id').fetchall()
        except sqlite3.OperationalError:  # no table: nothing was written
            rows = []
        connection.close()
        return [{**json.loads(record), "id": str(number)} for number, record in rows]


class Alarm:
    """Kills a process that says nothing for too long, so that a test fails instead of hanging."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._timer = threading.Timer(PATIENCE_SECONDS, process.kill)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
