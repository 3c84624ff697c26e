"""The Salesforce destination: sObject Collections of the REST API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Any, cast

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.arguments import at_least_one, checked_base_url
from batcher.destinations._http.destination import HTTPDestination, ready
from batcher.destinations._http.sender import Client
from batcher.destinations._http.tokens import AuthorizedSender, Token, TokenSource, answer_of_issuer, without_token
from batcher.destinations._http.verifying import unknown
from batcher.destinations.protocol import Prepared
from batcher.destinations.salesforce.answers import ApiUsage, is_token_refused, usage_of, verdicts_of
from batcher.destinations.salesforce.requests import (
    BATCH_BYTES,
    FIRST_VERSION,
    MAX_RECORDS,
    VERBS,
    Headers,
    Item,
    Lane,
    identity_of,
    item_of,
    lane_headers,
    partition_of,
    path_of,
    request_of,
)
from batcher.destinations.salesforce.tokens import TOKEN_PATH, grant_of, token_of
from batcher.destinations.salesforce.verifying import checked_unique, outcomes, question_of
from batcher.errors import InvalidRecord
from batcher.outcomes import Outcome, Refused, Verdict
from batcher.policies import LaneRules
from batcher.writes import Write, WriteType

_VERSION = re.compile(r"([1-9][0-9]{1,2})\.0")
_WAY_OUT = "check the app and its rights in Salesforce, and the credentials given here"


class Salesforce(HTTPDestination):
    """Write records to Salesforce by sObject Collections.

    Create, update, upsert by an external id field, and delete; each of them also all or none. A call carries up to 200
    records, if ``AutoBatchPolicy(max_records=200)`` lets batches grow so far. They are of one object, so a call is one
    of the ten runs that Salesforce allows. There are no associations: set the lookup field.

    Salesforce answers in the order of the request. A record gets its result if the answer has one for each record and
    contradicts neither itself nor the ids that were sent; else all records of the call are ``Unknown``. An upsert
    tells in ``Written.data`` whether it made the record: ``{"created": True}``. A locked row is tried again, for its
    record alone.

    Give one of these:

    * ``access_token``, which is used as long as it lives;
    * ``client_id`` and ``client_secret``: tokens by the client-credentials flow;
    * ``client_id``, ``username`` and ``private_key``: tokens by the JWT-bearer flow. It needs the extra
      ``salesforce``.

    A token that Salesforce refuses as expired is replaced once, and the call is sent again.

    **Parents.** Writing a record locks the row of its parent for a moment, so that calls which are out at the same
    time and hold records of one parent fail with ``UNABLE_TO_LOCK_ROW``. With ``keep_together="AccountId"`` the
    records of one account, of one object and type of write, share one of a few lanes, by a hash of the account. Such
    a lane has one call out at a time, and its next batch fills up meanwhile: no two calls that are out hold records of
    one parent, and a batch still holds records of many. More ``partitions`` send more at the same time, in emptier
    batches. With 1, no two calls of an object and type overlap, whatever their records hold. With more, a record
    without that field (a delete has none) is kept together with no other, and the members of a group must be in one
    partition. Other objects and other types of write have lanes of their own, which may meet at a parent.

    **Lost answers.** Under ``RetryPolicy(on_unknown="verify")`` Salesforce is asked which creates of a lost answer were
    applied, by the field that ``unique`` names for the object, in one query that is one call. A record is taken as
    written if all its fields are there as they were sent, whoever wrote them; a value that Salesforce or a trigger
    rewrites makes it ``Unknown``. The user must be able to see the records, and to read the fields, that it writes.

    :param instance_url: the org, ``"https://MyDomain.my.salesforce.com"``. Tokens are asked for there too, and if
        their answer names another instance, that one is used; so ``"https://login.salesforce.com"`` will do for
        JWT-bearer tokens
    :param access_token: a session id or an OAuth access token; never shown
    :param client_id: the consumer key of the connected or external client app
    :param client_secret: its secret; never shown
    :param username: the user that the app writes as
    :param private_key: the RSA key of the app's certificate, in PEM form; never shown
    :param audience: whom the signature is for: ``"https://test.salesforce.com"`` for a sandbox
    :param api_version: of the REST API, 42.0 or later; upserts need 46.0. 67.0 is Summer '26, and a version is kept
        for three years at least
    :param headers: of every call, besides the headers of a write, which win: ``Sforce-Duplicate-Rule-Header``,
        ``Sforce-Auto-Assign``, ``Sforce-Mru``, ... Writes with other headers travel in other calls
    :param unique: name of an object to a field that is *Unique* in Salesforce, which an external id field need not be,
        for creates. With one that is not, a lost call that is carried out late makes a duplicate
    :param keep_together: the field that names the parent; None keeps nothing together
    :param partitions: lanes for the parents of one object and type. 4 as the calls that other lanes may have out
    :param max_records: records that one call may carry, 1 to 200
    :param max_request_bytes: the longest body that is sent. Salesforce documents no limit; 1 MB is the batcher's own
    :param max_answer_bytes: the longest body that is read; what is longer makes the batch unknown
    :param timeout: seconds or timedelta for one request and its answer; keep it below ``Limits.call_timeout``, which
        bounds a call with its tokens. Salesforce itself takes up to 600
    :param client: an ``httpx.AsyncClient`` or ``httpx2.AsyncClient``, which is used and not closed; by default one is
        made
    :param clock: returns seconds since 1970, for signatures and times in answers
    :raises TypeError: an argument of another type
    :raises ValueError: an argument out of range, or one that does not go with another
    :raises ImportError: ``private_key`` without the extra ``salesforce``
    """

    def __init__(
        self,
        instance_url: str,
        *,
        access_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        username: str | None = None,
        private_key: str | bytes | None = None,
        audience: str = "https://login.salesforce.com",
        api_version: str = "67.0",
        headers: Mapping[str, str] | None = None,
        unique: Mapping[str, str] | None = None,
        keep_together: str | None = None,
        partitions: int = 4,
        max_records: int = 200,
        max_request_bytes: int = 1_000_000,
        max_answer_bytes: int = 10_000_000,
        timeout: float | timedelta = 50.0,
        client: Client | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(client, timeout=timeout, max_answer_bytes=max_answer_bytes, clock=clock)
        self._instance_url = checked_base_url("instance_url", instance_url)
        secrets = {
            "access_token": access_token,
            "client_id": client_id,
            "client_secret": client_secret,
            "username": username,
            "private_key": private_key,
        }
        self._grant = grant_of(secrets, self._instance_url, audience)
        self._api = AuthorizedSender(self._sender, TokenSource(self._fetch), is_token_refused, self._watch)
        self._api_version, self._release = api_version, _release_of(api_version)
        self._headers = lane_headers(headers or {})
        self._unique = checked_unique(unique)
        self._keep_together = _checked_field(keep_together)
        self._partitions = at_least_one("partitions", partitions)
        self._max_records = at_least_one("max_records", max_records, MAX_RECORDS)
        self._max_request_bytes = at_least_one("max_request_bytes", max_request_bytes)
        self._limits: ApiUsage | None = None
        self._lane = ready(self._make_lane)

    def __repr__(self) -> str:
        return f"Salesforce({self._instance_url!r}, api_version={self._api_version!r})"

    @property
    def limits(self) -> ApiUsage | None:
        """What the org has used of its daily calls, as the last answer said; None before the first one."""
        return self._limits

    def encode(self, write: Write) -> Prepared:
        """Validate what is special here, and encode, or raise :class:`~batcher.errors.InvalidRecord`."""
        since = VERBS[write.type].since
        if self._release < since:
            raise InvalidRecord(f"{write.type.value}s need api_version='{since}.0' or later, not {self._api_version!r}")
        item, record = item_of(write)
        headers = self._headers | lane_headers(write.headers) if write.headers else self._headers
        partition = None
        if self._keep_together is not None:
            partition = partition_of(record, self._keep_together, self._partitions)
        lane = self._lane(write.object, write.type, write.by, tuple(sorted(headers.items())), partition)
        # One more for the separator.
        return Prepared(lane, item, len(item.piece) + 1, identity_of(write, item, record))

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry, and how many of them may be out."""
        shared = cast(Lane, lane)
        creates = shared.type is WriteType.CREATE
        return LaneRules(
            max_records=self._max_records,
            max_bytes=max(1, self._max_request_bytes - BATCH_BYTES),
            max_in_flight=inf if shared.partition is None else 1,
            idempotent=not creates,
            verifiable=creates and shared.object.lower() in self._unique,
        )

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call; see :meth:`Destination.send`."""
        shared, records = cast(Lane, lane), cast(Sequence[Item], items)
        request = request_of(shared, records, all_or_none)
        try:
            answer = await self._api.request(*request, dict(shared.headers))
        except Refused as refused:  # by the issuer of tokens; nothing was written
            return [without_token(refused, _WAY_OUT)] * len(records)
        return verdicts_of(answer, records, all_or_none=all_or_none, now=self._clock())

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Find out which creates of a lost answer were applied; see :meth:`Verifier.verify`."""
        shared = cast(Lane, lane)
        by = self._unique[shared.object.lower()]
        question = question_of(cast(Sequence[Item], items), by, shared.object, self._api_version)
        if question.request is None or len(question.request[1]) > self._max_request_bytes:
            return unknown(len(items), "no record has a unique value that can be asked for, or they do not fit a call")
        try:
            answer = await self._api.request("POST", *question.request, dict(shared.headers))
        except Refused:  # by the issuer of tokens
            return unknown(len(items), "no access token")
        return outcomes(answer, question, now=self._clock())

    async def _fetch(self) -> Token:
        if isinstance(self._grant, Token):
            return self._grant
        form = self._grant.form(self._clock())
        answer = await answer_of_issuer(self._sender, self._instance_url + TOKEN_PATH, form)
        return token_of(answer, self._instance_url)

    def _watch(self, answer: Answer) -> None:
        self._limits = usage_of(answer) or self._limits

    def _make_lane(self, object: str, type: WriteType, by: str | None, headers: Headers, partition: int | None) -> Lane:
        return Lane(object, type, path_of(self._api_version, object, by), headers, partition)


def _release_of(version: object) -> int:
    """Return the number of an API version, which counts releases."""
    if not isinstance(version, str):
        raise TypeError(f"api_version must be a string, not {type(version).__name__}")
    found = _VERSION.fullmatch(version)
    if found is None or int(found[1]) < FIRST_VERSION:
        raise ValueError(f"api_version must be like '67.0', {FIRST_VERSION}.0 or later, not {version!r}")
    return int(found[1])


def _checked_field(keep_together: object) -> str | None:
    if keep_together is not None and not isinstance(keep_together, str):
        raise TypeError(f"keep_together must be the name of a field, not {type(keep_together).__name__}")
    if keep_together == "":
        raise ValueError("keep_together must be the name of a field, not an empty string")
    return keep_together
