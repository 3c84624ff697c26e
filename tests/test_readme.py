"""The README: every block of Python runs, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("code", "output"), BLOCKS, ids=[f"block {n}" for n in range(1, len(BLOCKS) + 1)])
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


def test_there_is_something_to_run():
    """Should the fences change, this notices."""
    assert len(BLOCKS) >= 5


def test_links_lead_somewhere():
    """Every promise links to a test file that exists, and every promise of the table has tests named after it."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
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
