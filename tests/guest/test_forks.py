"""P20: a fork is noticed. In processes of their own, on the real clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
HOME = Path(__file__).parents[2]
PATIENCE = 120

HEAD = """
import asyncio, os, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*multi-threaded.*", category=DeprecationWarning)
from batcher import *

async def write(key, records):
    sys.stdout.write("".join(f"{record}\\n" for record in records)); sys.stdout.flush()
    return records

def child(function):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            function()
        except BaseException as error:
            print("child:", type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(pid, 0)
"""

RUNNER = """
runner = asyncio.Runner()
batcher = Batcher(write, auto_batch=AutoBatchPolicy(max_delay=0.2))
runner.run(batcher.__aenter__())
async def enqueue(): return await batcher.enqueue("parent")
receipt = runner.run(enqueue())
"""


def run(code: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    result = subprocess.run(
        [sys.executable, "-c", HEAD + code], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    "verb",
    [
        "runner.run(batcher.submit('child'))",
        "runner.run(batcher.submit_all(['child']))",
        "runner.run(batcher.flush())",
        "batcher.submit_nowait('child')",
        "receipt.withdraw()",
        "runner.run(wait())",
        "asyncio.run(batcher.submit('child'))",
    ],
)
def test_p20_a_child_is_refused_in_words_what_its_parent_has_opened(verb: str):
    """At once, and the parent goes on: its record is written, once."""
    lines = run(
        RUNNER
        + f"""
async def wait(): return await receipt
child(lambda: {verb})
runner.run(batcher.__aexit__(None, None, None))
runner.close()
"""
    )
    (refused,) = [line for line in lines if line.startswith("child:")]
    assert refused.startswith(("child: BatcherNotOpen", "child: RecordUnknown"))
    assert "this batcher was opened before this process was forked, and belongs to the parent" in refused
    assert "gunicorn --preload" in refused
    assert lines.count("parent") == 1
    assert "child" not in lines


def test_p20_a_child_that_goes_on_with_the_loop_sends_nothing_of_its_parents():
    """It has a copy of the records and of the tasks. Who waits is told in there that nobody knows."""
    lines = run(
        """
async def main():
    async with Batcher(write, auto_batch=AutoBatchPolicy(max_delay=0.2)) as batcher:
        waits = asyncio.ensure_future(batcher.submit("parent"))
        await asyncio.sleep(0)
        pid = os.fork()
        if not pid:
            asyncio._set_running_loop(loop)
            try:
                await asyncio.wait_for(waits, 20)
            except RecordUnknown as error:
                print("child:", error, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        await waits
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
    )
    assert lines.count("parent") == 1
    (told,) = [line for line in lines if line.startswith("child:")]
    assert "the record may or may not have been written: this batcher was opened before this process was forked" in told


def test_p20_one_that_is_not_entered_yet_works_in_a_child():
    """As made at import, and opened in each worker. Nor does a child that ends warn of what is its parent's."""
    lines = run(
        RUNNER
        + """
made = Batcher(write)
async def use():
    async with made:
        await made.submit("child")
def work():
    asyncio.run(use())
    global batcher, receipt
    del batcher, receipt
    import gc; gc.collect()
child(work)
child(work)
runner.run(batcher.__aexit__(None, None, None))
runner.close()
"""
    )
    assert sorted(lines) == ["child", "child", "parent"]
