"""The HubSpot destination: records of any object of HubSpot's CRM, through its batch endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import anyio

from batcher.destinations._http.answers import json_of
from batcher.destinations._http.arguments import at_least_one, checked_base_url
from batcher.destinations._http.destination import HTTPDestination, ready
from batcher.destinations._http.sender import Client
from batcher.destinations._http.tokens import AuthorizedSender, Token, TokenSource, answer_of_issuer, without_token
from batcher.destinations._http.verifying import unknown
from batcher.destinations.hubspot.answers import is_token_refused, may_have_culprits, verdicts_of
from batcher.destinations.hubspot.links import LinkCall, Wish, failures_of, link_calls, unlinked, warned, wishes_of
from batcher.destinations.hubspot.requests import BATCH_BYTES, VERBS, Item, Lane, Paths, folded, item_of, request_of
from batcher.destinations.hubspot.tokens import grant_of, token_of
from batcher.destinations.hubspot.verifying import READ, checked_unique, outcomes, question_of
from batcher.destinations.protocol import Prepared
from batcher.outcomes import Outcome, Refused, Retry, Verdict
from batcher.policies import LaneRules, to_seconds
from batcher.writes import Write, WriteType

# Inputs of one call: HubSpot, "Limits" of each batch endpoint.
_MAX_RECORDS = 100
_WAY_OUT = "check client_id and client_secret, and install the app in the account again for a new refresh_token"
# Extra calls for associations that a batch may cost while the ones that HubSpot refuses are looked for; 50 as in
# RetryPolicy.
_SEARCH_CALLS = 50


class HubSpot(HTTPDestination):
    """Write records of HubSpot's CRM: contacts, companies, deals, tickets, custom objects.

    Every property is text in HubSpot: numbers, true and false are converted, None clears, lists and mappings are
    refused. Creates, updates, upserts and deletes (which archive) travel in batches of 100. An id is given to a record
    only if the answer says for certain that it is its own; HubSpot answers in random order. A created record gets
    ``Written(record_id=None)`` where it was certainly written and only its id is in doubt, as with two records alike.
    What HubSpot drops without a word is ``Unknown``. A delete is ``Written`` also where there was no such record:
    HubSpot does not tell.

    Creates and upserts can be all or none; updates and deletes cannot. An upsert matches on a unique property, or on
    ``email`` for contacts. Associations go along with a create. For an update or an upsert they are made by a second
    call after the write, need ``Association(object=...)``, and are reported in ``Written.warnings`` if they fail. One
    that HubSpot refuses is looked for by halving, so that the others are made.

    Under ``RetryPolicy(on_unknown="verify")`` HubSpot is asked which creates of a lost answer were applied, by the
    unique property of the object: ``email`` of contacts, and what ``unique`` names. A record is taken as written if all
    its properties are there as they were sent, whoever wrote them.

    Give ``token``, or ``client_id``, ``client_secret`` and ``refresh_token``.

    :param token: of a private app or a service key; sent as ``Authorization`` and never shown
    :param client_id: of an app that customers install
    :param client_secret: its secret, never shown
    :param refresh_token: what the app got when it was installed in the account; never shown. Access tokens are fetched
        with it, and replaced a minute before they expire
    :param unique: name of an object to a property of which HubSpot keeps the values unique, for creates. It must refuse
        a second record with the same value; the domain of companies is not such a property
    :param api_version: ``"v3"``, or a dated version such as ``"2026-03"``
    :param max_records: records that one call may carry, 1 to 100
    :param max_request_bytes: the longest body that is sent
    :param max_answer_bytes: the longest body that is read; what is longer makes the batch unknown
    :param timeout: seconds or timedelta for one request and its answer. 30 as in Ampersand. The associations that
        follow a write get half of it, all together
    :param client: an ``httpx.AsyncClient`` or ``httpx2.AsyncClient``, which is used and not closed; by default one is
        made
    :param base_url: the server
    :param token_url: where access tokens are fetched; by default ``/oauth/v3/token`` of that server
    :param clock: returns seconds since 1970, to which times in answers that have no ``Date`` are compared
    :raises TypeError: an argument of another type, or none of the ways to authorize, or both
    :raises ValueError: an argument out of range
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        unique: Mapping[str, str] | None = None,
        api_version: str = "2026-03",
        max_records: int = _MAX_RECORDS,
        max_request_bytes: int = 1_000_000,
        max_answer_bytes: int = 10_000_000,
        timeout: float | timedelta = 30.0,
        client: Client | None = None,
        base_url: str = "https://api.hubapi.com",
        token_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(client, timeout=timeout, max_answer_bytes=max_answer_bytes, clock=clock)
        self._base_url = checked_base_url("base_url", base_url)
        self._token_url = checked_base_url("token_url", token_url or f"{self._base_url}/oauth/v3/token")
        self._grant = grant_of(token, client_id, client_secret, refresh_token, self._base_url)
        self._api = AuthorizedSender(self._sender, TokenSource(self._fetch), is_token_refused)
        self._unique = checked_unique(unique)
        self._paths = Paths(api_version)
        self._max_records = at_least_one("max_records", max_records, _MAX_RECORDS)
        self._max_request_bytes = at_least_one("max_request_bytes", max_request_bytes)
        self._links_timeout = to_seconds("timeout", timeout) / 2
        self._lane = ready(self._make_lane)

    def __repr__(self) -> str:
        return f"HubSpot({self._base_url!r}, api_version={self._paths.version!r})"

    def encode(self, write: Write) -> Prepared:
        """Validate what is special here, and encode, or raise :class:`~batcher.errors.InvalidRecord`."""
        item = item_of(write)
        lane = self._lane(write.object, write.type, write.by)
        identity: Hashable = None
        if item.key is not None:
            # Different values that are folded into one only wait for each other; one value in two batches would fail.
            key = (write.by, folded(item.key)) if write.by is not None else item.key
            identity = ("hubspot", self._base_url, write.object, key)
        return Prepared(lane, item, len(item.piece) + lane.verb.item_bytes, identity)

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry."""
        shared = cast(Lane, lane)
        creates = shared.type is WriteType.CREATE
        return LaneRules(
            max_records=self._max_records,
            max_bytes=max(1, self._max_request_bytes - BATCH_BYTES),
            all_or_none=shared.verb.traced,
            idempotent=not creates,
            verifiable=creates and shared.object in self._unique,
        )

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call, and others for associations that follow it; see :meth:`Destination.send`."""
        shared, records = cast(Lane, lane), cast(Sequence[Item], items)
        try:
            answer = await self._api.request(*request_of(shared, records, all_or_none))
        except Refused as refused:  # by the issuer of tokens; nothing was written
            return [without_token(refused, _WAY_OUT)] * len(records)
        verdicts = verdicts_of(answer, records, shared, now=self._clock(), all_or_none=all_or_none)
        return await self._link(shared, records, verdicts)

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Find out which creates of a lost answer were applied; see :meth:`Verifier.verify`."""
        shared = cast(Lane, lane)
        path = self._paths.batch(shared.object, READ)
        question = question_of(cast(Sequence[Item], items), self._unique[shared.object], path)
        if question.request is None or len(question.request[1]) > self._max_request_bytes:
            return unknown(len(items), "no record has a unique value, or they do not fit a call")
        try:
            answer = await self._api.request("POST", *question.request)
        except Refused:  # by the issuer of tokens
            return unknown(len(items), "no access token")
        return outcomes(answer, question, now=self._clock())

    async def _link(self, lane: Lane, items: Sequence[Item], verdicts: list[Verdict]) -> list[Verdict]:
        """Make the associations of the records that were written; return the verdicts, with warnings."""
        wishes = wishes_of(items, verdicts)
        calls = link_calls(lane.object, wishes, self._paths, self._max_request_bytes)
        failures: list[tuple[Wish, str]] = []
        budget = _SEARCH_CALLS
        with anyio.move_on_after(self._links_timeout):
            while calls:
                failed, halves = await self._link_some(calls[0], search=budget > 0)
                failures += failed
                calls[:1] = halves
                budget -= len(halves)
        failures += [(wish, "there was no answer in time") for call in calls for wish in call.wishes]
        return warned(unlinked(items, verdicts), failures)

    async def _link_some(self, call: LinkCall, *, search: bool) -> tuple[list[tuple[Wish, str]], list[LinkCall]]:
        """Make one call for associations; return what failed, and calls to be made in its place."""
        # The records are written: nothing that happens here may cost them their outcome.
        try:
            answer = await self._api.request("POST", call.path, call.body)
        except Exception as error:
            words = str(error) if isinstance(error, (Retry, Refused)) else type(error).__name__
            return [(wish, words) for wish in call.wishes], []
        halves = call.halves() if search and may_have_culprits(answer.status, json_of(answer)) else []
        return ([], halves) if halves else (failures_of(answer, call), [])

    async def _fetch(self) -> Token:
        if isinstance(self._grant, Token):
            return self._grant
        answer = await answer_of_issuer(self._sender, self._token_url, self._grant.form())
        token = token_of(answer, self._base_url, now=self._clock(), here=anyio.current_time())
        self._grant = self._grant.renewed(answer)
        return token

    def _make_lane(self, object: str, type: WriteType, by: str | None) -> Lane:
        return Lane(object, type, by, self._paths.batch(object, VERBS[type]))
