"""HttpBatch: jobs that a call starts, asked until they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio

from batcher.destinations._http.answers import Answer, succeeded, wait_of
from batcher.destinations.http_batch.requests import Call, Request
from batcher.outcomes import Retry

Poll: TypeAlias = Callable[[Answer, Call], Request | str | None]
"""Returns what to ask next, as a request or as the path or URL of a GET; None if the answer is the last one."""
Ask: TypeAlias = Callable[[Request], Awaitable[Answer]]

# The trouble of one question, which the next one need not have.
_ASK_AGAIN = frozenset({408, 425, 429})


class JobLost(Exception):
    """Nobody can say how the job ended. It may have written every record."""


async def ended(
    answer: Answer, call: Call, poll: Poll, ask: Ask, interval: float, timeout: float, clock: Callable[[], float]
) -> Answer:
    """Return the answer that says how the job ended that *answer* is of.

    A question is not a write: what goes wrong with it is asked again, as long as there is time.

    :param interval: seconds before each question; a ``Retry-After`` makes it longer
    :param timeout: seconds from now after which no question is asked
    :param clock: returns seconds since 1970
    :raises JobLost: it has not ended in time, or cannot be asked
    :raises Exception: of *poll*
    """
    give_up_at = anyio.current_time() + timeout
    question = _request(poll(answer, call))
    trouble = ""
    while question is not None:
        pause = max(interval, wait_of(answer, clock()) or 0.0)
        if anyio.current_time() + pause > give_up_at:
            raise JobLost(f"the job has not ended within {timeout:g} s{trouble}")
        await anyio.sleep(pause)
        try:
            answer = await ask(question)
        except Retry as retry:
            trouble, answer = f" ({retry})", Answer(0)
            continue
        if answer.status in _ASK_AGAIN or answer.status >= 500 or answer.flaw is not None:
            trouble = f" (HTTP {answer.status})"
            continue
        if not succeeded(answer):
            raise JobLost(f"the job cannot be asked: HTTP {answer.status}")
        trouble = ""
        question = _request(poll(answer, call))
    return answer


def _request(asked: object) -> Request | None:
    if isinstance(asked, str):
        return Request("GET", asked)
    if asked is None or isinstance(asked, Request):
        return asked
    raise TypeError(f"poll() must return a Request, a path or None, not {type(asked).__name__}")
