"""HttpBatch: calls that start a job, in virtual time, on both loops."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from batcher import AutoBatchPolicy, RetryPolicy, Write, Writer
from batcher.destinations.http_batch import Answer, Call, Request, by_key
from batcher.outcomes import Refused, Rejected, Retry, Unknown, Written
from batcher.testing import virtual_time
from tests.destinations.http_batch.helpers import KEY, NOW, fate, http_batch

pytestmark = pytest.mark.anyio

BASE = "https://api.example.com"
JOB = f"{BASE}/jobs/1"
RUNNING = {"job": JOB, "state": "working"}
ENDED = {"state": "completed", "results": [{"id": 1, "bad": "no"}, {"id": 0, "ok": "a"}]}
RESULTS = [Written("a"), Rejected("no")]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return request.param, virtual_time(request.param)


class Service:
    """Answers from a script, the last one again and again, and notes what it is asked and when."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.script: list[Any] = []
        self.asked: list[tuple[float, str, str]] = []
        self.requests: list[Any] = []
        self.client = module.AsyncClient(transport=module.MockTransport(self.answer))

    def answer(self, request: Any) -> Any:
        self.asked.append((anyio.current_time() - self.began, request.method, str(request.url)))
        self.requests.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, str):
            raise getattr(self.module, step)("trouble with ada@x")
        status, body, *headers = step if isinstance(step, tuple) else (200, step)
        return self.module.Response(status, json=body, headers=dict(headers))

    async def outcomes(self, *script: Any, **options: Any) -> Any:
        """What becomes of two records."""
        self.script, self.began = list(script), anyio.current_time()
        options = {"poll": poll, "read": read, "client": self.client, "clock": lambda: NOW, **options}
        destination = http_batch(BASE, headers={"authorization": KEY}, **options)
        writer = Writer(destination, retry=RetryPolicy(max_attempts=1), auto_batch=AutoBatchPolicy(max_delay=0.0))
        async with writer as crm:
            return await crm.submit_all([Write("contacts", "create", {"n": n}) for n in range(2)])

    @property
    def times(self) -> list[float]:
        return [when for when, *_ in self.asked]


def poll(answer: Answer, call: Call) -> Any:
    return answer.json["job"] if answer.json["state"] == "working" else None


def read(answer: Answer, call: Call) -> list[Any]:
    return by_key(answer.json["results"], call, fate)


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    service = Service(request.param)
    async with service.client:
        yield service


async def test_a_job_is_asked_until_it_ends(service: Service) -> None:
    """Once a second, with the credentials of the destination; what read() makes of the last answer stands."""
    assert await service.outcomes(RUNNING, RUNNING, RUNNING, ENDED) == RESULTS

    assert service.asked == [
        (0.0, "POST", f"{BASE}/contacts/batch"),
        (1.0, "GET", JOB),
        (2.0, "GET", JOB),
        (3.0, "GET", JOB),
    ]
    assert all(request.headers["authorization"] == KEY for request in service.requests)
    assert "content-type" not in service.requests[1].headers


async def test_a_job_that_has_ended_is_not_asked(service: Service) -> None:
    """An API may answer at once."""
    assert await service.outcomes(ENDED) == RESULTS
    assert len(service.asked) == 1


async def test_questions_may_be_any_request(service: Service) -> None:
    """A path, or a request with a body, in the rhythm that is asked for."""
    questions: list[Any] = ["/jobs/1?full=1", Request("POST", "/jobs", json={"ids": [1]}), None]
    outcomes = await service.outcomes({}, {}, ENDED, poll=lambda *_: questions.pop(0), poll_interval=5)

    assert outcomes == RESULTS
    assert service.asked[1:] == [(5.0, "GET", f"{BASE}/jobs/1?full=1"), (10.0, "POST", f"{BASE}/jobs")]
    assert service.requests[2].content == b'{"ids":[1]}'


@pytest.mark.parametrize(
    "trouble", ["ReadError", "ConnectError", (429, {}), (408, {}), (425, {}), (500, {}), (503, {})]
)
async def test_the_trouble_of_one_question_is_asked_again(service: Service, trouble: Any) -> None:
    """A question writes nothing, so it may be lost, throttled or broken."""
    assert await service.outcomes(RUNNING, trouble, trouble, ENDED) == RESULTS
    assert service.times == [0.0, 1.0, 2.0, 3.0]


async def test_a_question_waits_as_long_as_it_is_told_to(service: Service) -> None:
    """Retry-After, of the first answer and of a throttled one, if it is longer than the interval."""
    outcomes = await service.outcomes(
        (202, RUNNING, ("Retry-After", "5")),
        (429, {}, ("Retry-After", "7")),
        (200, RUNNING, ("Retry-After", "0")),
        ENDED,
    )
    assert outcomes == RESULTS
    assert service.times == [0.0, 5.0, 12.0, 13.0]


async def test_the_time_of_a_question_that_was_lost_is_not_known(service: Service) -> None:
    """So the next one follows in the ordinary rhythm, and not in that of an earlier answer."""
    assert await service.outcomes((202, RUNNING, ("Retry-After", "5")), "ReadError", ENDED) == RESULTS
    assert service.times == [0.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([RUNNING], "the job has not ended within 10 s"),
        ([RUNNING, "ReadError"], "within 10 s (the request left and its answer was lost (ReadError))"),
        ([RUNNING, (503, {})], "the job has not ended within 10 s (HTTP 503)"),
        ([RUNNING, (503, {}), RUNNING], "the job has not ended within 10 s"),
    ],
)
async def test_p07_a_job_whose_end_is_not_seen_leaves_all_unknown(service: Service, script: Any, words: str) -> None:
    """The time is bounded, and nobody is told a guess: the job may go on."""
    outcomes = await service.outcomes(*script, poll_timeout=10, poll_interval=2)

    assert all(isinstance(each, Unknown) for each in outcomes)
    assert str(outcomes[0].cause).endswith(words)
    assert service.times == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


async def test_a_job_is_not_waited_for_beyond_its_time(service: Service) -> None:
    """If the API wants to be asked later than that, it is given up at once."""
    first, _ = await service.outcomes((202, RUNNING, ("Retry-After", "46")))

    assert first == Unknown("the job has not ended within 45 s")
    assert service.times == [0.0]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
async def test_p07_a_job_that_cannot_be_asked_leaves_all_unknown(service: Service, status: int) -> None:
    """Forgotten or forbidden: that is about the question, not about the records."""
    first, second = await service.outcomes(RUNNING, (status, {"message": "no"}))

    assert first == second == Unknown(f"the job cannot be asked: HTTP {status}")
    assert len(service.asked) == 2


async def test_p07_half_an_answer_to_a_question_is_asked_again(service: Service) -> None:
    """What is longer than allowed stays so, and the time ends."""
    long = {**RUNNING, "x": "x" * 2000}
    first, _ = await service.outcomes(RUNNING, long, max_answer_bytes=1000, poll_timeout=3)

    assert first == Unknown("the job has not ended within 3 s (HTTP 200)")


@pytest.mark.parametrize(
    ("question", "cause"),
    [
        ("https://evil.example.com/jobs/1", ValueError),
        (3, TypeError),
        (b"/jobs/1", TypeError),
    ],
)
async def test_p13_a_question_goes_to_the_same_server_only(service: Service, question: Any, cause: Any) -> None:
    """An address from an answer is not to be trusted with the credentials."""
    first, _ = await service.outcomes(RUNNING, poll=lambda *_: question)

    assert isinstance(first, Unknown) and isinstance(first.cause, cause)
    assert len(service.asked) == 1


async def test_what_poll_raises_leaves_all_unknown(service: Service) -> None:
    """The call went through; only what it started cannot be told."""
    first, second = await service.outcomes({"unexpected": 1})

    assert isinstance(first, Unknown) and isinstance(first.cause, KeyError)
    assert isinstance(second, Unknown)


@pytest.mark.parametrize(("raised", "kinds"), [(Refused("no"), {"rejected"}), (Retry("full"), {"not_written"})])
async def test_poll_may_say_that_there_is_no_job(service: Service, raised: Any, kinds: set[str]) -> None:
    """HTTP 200 with a refusal in its body."""

    def refuses(answer: Answer, call: Call) -> Any:
        raise raised

    outcomes = await service.outcomes({}, poll=refuses)
    assert {each.kind for each in outcomes} == kinds


@pytest.mark.parametrize(("status", "kind"), [(400, "rejected"), (429, "not_written"), (500, "unknown")])
async def test_a_call_that_failed_starts_no_job(service: Service, status: int, kind: str) -> None:
    """Its status says what became of it, also if read() is asked of it."""
    for statuses in ((), (400, 429, 500)):
        outcomes = await service.outcomes((status, {}), statuses=statuses, read=lambda *_: None)
        assert {each.kind for each in outcomes} == {kind}
    assert all(method == "POST" for _, method, _ in service.asked)


async def test_p08_a_cancelled_wait_ends(service: Service) -> None:
    """The call of a job is as cancellable as any other."""
    service.script, service.began = [RUNNING], anyio.current_time()
    destination = http_batch(BASE, poll=poll, client=service.client)
    async with destination:
        prepared = destination.encode(Write("contacts", "create", {"n": 1}))
        with anyio.move_on_after(2.5) as scope:
            await destination.send(prepared.lane, [prepared.item], all_or_none=False)
    assert scope.cancelled_caught
    assert service.times == [0.0, 1.0, 2.0]
