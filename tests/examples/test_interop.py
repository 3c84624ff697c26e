"""SQS against a server that others wrote: moto. Not part of the default run: ``pytest -m interop`` has it.

It needs the extra ``interop``. Of Elasticsearch there is no server in the package registries.
"""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from batcher import RetryPolicy, Write, Writer
from tests.examples.sqs import sqs

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

SERVER = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
input()
"""
# moto looks at the scope of a signature, and not at the signature.
SCOPE = "Credential=x/20260101/us-east-1/sqs/aws4_request"
SIGNED = {"authorization": f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host, Signature=x"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """A real clock: there are sockets."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        port = server.stdout.readline().strip()
        assert port, "moto did not start: pip install '.[interop]'"
        yield f"http://127.0.0.1:{port}"
        server.stdin.close()


def ask(endpoint: str, action: str, **body: Any) -> Any:
    target = {"x-amz-target": f"AmazonSQS.{action}", "content-type": "application/x-amz-json-1.0"}
    response = httpx.post(endpoint, json=body, headers={**SIGNED, **target}, trust_env=False)
    response.raise_for_status()
    return response.json()


def received(endpoint: str, queue: str) -> dict[str, str]:
    """Message id to body, of all that are in the queue."""
    found: dict[str, str] = {}
    while messages := ask(endpoint, "ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found |= {message["MessageId"]: message["Body"] for message in messages}
    return found


async def test_sqs_tells_each_message_its_own_fate(endpoint: str, anyio_backend_name: str) -> None:
    """
    25 messages, some refused by the server: each outcome agrees with what is in the queue.
    """
    queue = ask(endpoint, "CreateQueue", QueueName=f"fates-{anyio_backend_name}")["QueueUrl"]
    destination = sqs(endpoint, queue, headers=SIGNED)
    records = [{"MessageBody": f"message {n}", **({"DelaySeconds": 5000} if n % 7 == 3 else {})} for n in range(25)]
    async with Writer(destination, retry=RetryPolicy(max_attempts=1)) as writer:
        outcomes: Any = await writer.submit_all([Write("messages", "create", record) for record in records])

    there = received(endpoint, queue)
    assert [outcome.ok for outcome in outcomes] == [n % 7 != 3 for n in range(25)]
    assert there == {
        outcome.record_id: record["MessageBody"]
        for outcome, record in zip(outcomes, records, strict=True)
        if outcome.ok
    }
    assert {outcome.errors[0].code for outcome in outcomes if not outcome.ok} == {"InvalidParameterValue"}


async def test_sqs_refuses_a_call_to_a_queue_that_is_not_there(endpoint: str) -> None:
    """
    The code of the refusal reaches every caller.
    """
    destination = sqs(endpoint, f"{endpoint}/123456789012/absent", headers=SIGNED)
    async with Writer(destination, retry=RetryPolicy(max_attempts=1)) as writer:
        outcomes: Any = await writer.submit_all(
            [Write("messages", "create", {"MessageBody": str(n)}) for n in range(3)]
        )

    assert {outcome.errors[0].code for outcome in outcomes} == {"com.amazonaws.sqs#QueueDoesNotExist"}
