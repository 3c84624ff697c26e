"""The HttpBatch destination: any other batch endpoint, from two small functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import timedelta
from math import inf, isinf
from typing import Any, cast

import attrs

from batcher.destinations._http.answers import Answer, succeeded
from batcher.destinations._http.arguments import Secret, at_least_one, checked_base_url, checked_headers
from batcher.destinations._http.destination import HTTPDestination
from batcher.destinations._http.encoding import check_and_encode, encode
from batcher.destinations._http.sender import Client
from batcher.destinations.http_batch.answers import Read, verdicts_of
from batcher.destinations.http_batch.jobs import JobLost, Poll, ended
from batcher.destinations.http_batch.requests import Call, Item, Lane, Request, lane_of, sent_as
from batcher.destinations.protocol import Prepared
from batcher.errors import InvalidRecord
from batcher.outcomes import Refused, Rejected, Retry, Unknown, Verdict
from batcher.policies import LaneRules, to_seconds
from batcher.writes import Write, WriteType


class HttpBatch(HTTPDestination):
    """Write records to any batch endpoint: one function makes the request, another reads the answer.

    What HTTP itself says of a call needs no code: what never left, what was lost, what is throttled, refused or broken
    becomes what it is. *read* is asked of answers that succeeded. It returns one verdict per item, in the order of the
    items, mostly by one of the helpers of this module: ``in_order``, ``by_key``, ``by_lists``, ``all_but``,
    ``unprocessed``. It may raise ``Retry`` or ``Refused`` for the whole call. Anything else that it raises, another
    number of verdicts, or a value that is none (``None``, ``True``) makes all records of the call unknown.

    For signed requests, and for tokens that are refreshed, give a *client* with ``auth=``.

    :param base_url: the server, with the part of the path that all requests have
    :param request: makes a :class:`Request` of a :class:`Call`, without I/O. What it raises, or a body beyond
        *max_bytes*, refuses the call before anything is sent; the batcher then looks for the culprit
    :param read: makes verdicts of an :class:`Answer` and its call, without I/O
    :param types: the types of write that *request* knows what to do with; others are refused when submitted
    :param max_records: records that one call may carry
    :param max_bytes: the longest body that is sent
    :param overhead: bytes that *request* adds to each record, for batches that are cut to fit
    :param all_or_none: whether the API applies a call as a whole or not at all, always or if *request* asks for it
    :param headers: of every request, names to values; taken for secrets, and never shown
    :param idempotent: the types of write that do no harm if applied twice. After a lost answer they are sent again,
        whatever ``RetryPolicy(on_unknown=...)`` says
    :param max_in_flight: calls of one lane that may be out at the same time; None leaves it to ``Limits``
    :param identity: two writes of one identity go out one after the other. Returns None for a write that nothing is
        known of. By default an update or a delete has the ``id`` of its record, an upsert the value that it matches on
    :param statuses: those besides 2xx of which *read* is asked too. If it returns None there, the status decides
    :param poll: for calls that start a job: what to ask next, as a request, a path or a URL of the same server; None if
        this answer is the one to be read. It is asked of every 2xx. A job whose end is not seen leaves all unknown
    :param poll_interval: seconds or timedelta between two questions; a ``Retry-After`` makes it longer
    :param poll_timeout: seconds or timedelta from the first answer on until the job is given up. It must fit into
        ``Limits(call_timeout=60)``
    :param timeout: seconds or timedelta for one request and its answer
    :param max_answer_bytes: the longest body that is read; what is longer makes the call unknown
    :param client: an ``httpx.AsyncClient`` or ``httpx2.AsyncClient``, which is used and not closed; by default one is
        made
    :param clock: returns seconds since 1970, to which a time to come back in an answer without ``Date`` is compared
    :raises TypeError: an argument of another type
    :raises ValueError: an argument out of range
    """

    def __init__(
        self,
        base_url: str,
        *,
        request: Callable[[Call], Request],
        read: Read,
        types: Iterable[WriteType | str] = (WriteType.CREATE,),
        max_records: int = 100,
        max_bytes: int = 1_000_000,
        overhead: int = 0,
        all_or_none: bool = False,
        idempotent: Iterable[WriteType | str] = (),
        max_in_flight: int | None = None,
        headers: Mapping[str, str] | None = None,
        identity: Callable[[Write], Hashable | None] | None = None,
        statuses: Collection[int] = (),
        poll: Poll | None = None,
        poll_interval: float | timedelta = 1.0,
        poll_timeout: float | timedelta = 45.0,
        timeout: float | timedelta = 30.0,
        max_answer_bytes: int = 10_000_000,
        client: Client | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        own = checked_headers(headers or {})
        super().__init__(
            client,
            timeout=timeout,
            max_answer_bytes=max_answer_bytes,
            clock=clock,
            secrets={name: Secret.field(value) for name, value in own.items()},
        )
        self._base_url = checked_base_url("base_url", base_url)
        for name, function in (("request", request), ("read", read), ("identity", identity), ("poll", poll)):
            if not (callable(function) or (function is None and name in ("identity", "poll"))):
                raise TypeError(f"{name} must be a function, not {type(function).__name__}")
        self._request, self._read, self._poll = request, read, poll
        self._types, self._idempotent = _types(types), _types(idempotent)
        self._max_bytes = at_least_one("max_bytes", max_bytes)
        self._overhead = overhead and at_least_one("overhead", overhead)
        self._rules = LaneRules(
            max_records=at_least_one("max_records", max_records),
            max_bytes=max_bytes,
            max_in_flight=inf if max_in_flight is None else at_least_one("max_in_flight", max_in_flight),
            all_or_none=all_or_none,
        )
        self._own_headers = frozenset(own)
        self._identity = identity or _identity_of
        self._statuses = frozenset(statuses)
        self._poll_interval = _finite("poll_interval", poll_interval)
        self._poll_timeout = _finite("poll_timeout", poll_timeout)

    def __repr__(self) -> str:
        return f"HttpBatch({self._base_url!r})"

    def encode(self, write: Write) -> Prepared:
        """Validate what is special here, and encode, or raise :class:`~batcher.errors.InvalidRecord`."""
        lane = lane_of(write, self._types, self._own_headers)
        record, piece = check_and_encode(write.record)
        # A copy, for what identity() does to it is not the caller's affair.
        identity = self._identified(attrs.evolve(write, record=dict(record)))
        # One more for the separator.
        return Prepared(lane, Item(piece), len(piece) + 1 + self._overhead, identity)

    def _identified(self, write: Write) -> Hashable:
        try:
            identity = self._identity(write)
            hash(identity)
        except Exception as error:
            raise InvalidRecord(f"identity() cannot tell which record this is: {type(error).__name__}") from error
        return None if identity is None else ("http", self._base_url, write.object, identity)

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry."""
        return attrs.evolve(self._rules, idempotent=cast(Lane, lane).type in self._idempotent)

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call; see :meth:`Destination.send`."""
        shared = cast(Lane, lane)
        call = Call(shared.object, shared.type, tuple(items), all_or_none, shared.by, dict(shared.headers))
        try:
            sending = sent_as(self._request(call), self._base_url, call, self._max_bytes)
        except (Retry, Refused):
            raise
        except Exception as error:
            errors = error.detail if isinstance(error, InvalidRecord) else error
            if len(items) == 1:
                return [Rejected(errors, cause=error)]
            raise Refused(errors) from error
        answer = await self._sender.request(*sending)
        if self._poll is not None and succeeded(answer) and answer.flaw is None:

            async def ask(question: Request) -> Answer:
                return await self._sender.request(*sent_as(question, self._base_url, call, self._max_bytes))

            try:
                answer = await ended(
                    answer, call, self._poll, ask, self._poll_interval, self._poll_timeout, self._clock
                )
            except (Retry, Refused):  # of the user's poll(): that there is no job after all
                raise
            except Exception as error:
                return [Unknown(str(error) if isinstance(error, JobLost) else error)] * len(items)
        return verdicts_of(answer, call, self._read, statuses=self._statuses, now=self._clock())


def _identity_of(write: Write) -> Hashable:
    if write.type in (WriteType.UPDATE, WriteType.DELETE):
        return ("id", write.record["id"])
    return None if write.by is None else (write.by, encode(write.record[write.by]))


def _types(types: Iterable[WriteType | str]) -> frozenset[WriteType]:
    return frozenset(map(WriteType, (types,) if isinstance(types, str) else types))


def _finite(name: str, value: float | timedelta) -> float:
    seconds = to_seconds(name, value)
    if isinf(seconds):
        raise ValueError(f"{name} must be finite")
    return seconds
