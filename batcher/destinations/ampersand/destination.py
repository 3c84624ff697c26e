"""The Ampersand destination: Salesforce, HubSpot and others, through Ampersand's Write API."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from math import isinf
from typing import Any, Literal, TypeAlias, cast

import anyio

from batcher.destinations._http.arguments import Secret, at_least_one, checked_base_url, checked_headers, quoted
from batcher.destinations._http.destination import HTTPDestination, ready
from batcher.destinations._http.sender import Client
from batcher.destinations.ampersand.answers import Operation, operation_of, verdicts_of
from batcher.destinations.ampersand.matching import same_id
from batcher.destinations.ampersand.requests import ITEM_BYTES, Item, Lane, Provider, envelope_of, item_of, request_of
from batcher.destinations.protocol import Prepared
from batcher.errors import BatcherError, InvalidRecord
from batcher.outcomes import Retry, Verdict
from batcher.policies import LaneRules, to_seconds
from batcher.writes import Write, WriteType

Mode: TypeAlias = Literal["synchronous", "asynchronous"]

# The API's own limits: records of one batch, hours of a retry deadline, minutes of an auto-batch delay.
_MAX_RECORDS = 100
_MAX_HOURS = 48
_MAX_MINUTES = 1440


class Ampersand(HTTPDestination):
    """Write records through Ampersand's Write API.

    A record gets an id and data only if the answer says for certain that they are its own. The API pairs results
    with records by position, which HubSpot's creates do not keep, and names no record in an error. So name the
    provider: with Salesforce complete results are taken in order; with HubSpot, or none named, an id is given if the
    echoed data are those of one record of the batch and of no other. Else the outcome is ``Written(record_id=None)``
    where the counts say that all were written, or ``Unknown``. ``max_records=1`` makes every id certain.

    Only HubSpot takes associations, only Salesforce takes headers. Creates and, with ``provider="salesforce"``,
    updates can be all or none. Deletes go one by one. There are no upserts.

    :param project: id or name of the project
    :param integration: id of the integration
    :param api_key: sent as ``X-Api-Key`` and never shown
    :param group_ref: the customer's installation
    :param provider: ``"salesforce"``, ``"hubspot"``, or None, which trusts no position
    :param mode: ``"synchronous"``, or ``"asynchronous"``: the service takes creates and updates over, the outcome is
        ``Accepted(operation_id)``, and :meth:`operation` reads what became of it
    :param retry_deadline_hours: 1 to 48, how long the service itself tries again; asynchronous only
    :param max_delay_minutes: 1 to 1440: the service gathers records for so long. They are sent to it one by one then;
        asynchronous only
    :param headers: of every call, besides the headers of a write, which win; Salesforce only
    :param max_records: records that one call may carry, 1 to 100. Batches are for Salesforce and HubSpot: give 1 for
        other providers
    :param max_request_bytes: the longest body that is sent
    :param max_answer_bytes: the longest body that is read; what is longer makes the batch unknown
    :param timeout: seconds or timedelta for one request and its answer. 30 as in Ampersand's own SDK for agents
    :param client: an ``httpx.AsyncClient`` or ``httpx2.AsyncClient``, which is used and not closed; by default one is
        made
    :param base_url: the server of the Write API
    :param platform_url: the server of the operations
    :param clock: returns seconds since 1970, to which times in answers that have no ``Date`` are compared
    :raises TypeError: an argument of another type
    :raises ValueError: an argument out of range, or one that does not go with another
    """

    def __init__(
        self,
        project: str,
        integration: str,
        *,
        api_key: str,
        group_ref: str,
        provider: Provider = None,
        mode: Mode = "synchronous",
        retry_deadline_hours: int | None = None,
        max_delay_minutes: int | None = None,
        headers: Mapping[str, str] | None = None,
        max_records: int = _MAX_RECORDS,
        max_request_bytes: int = 1_000_000,
        max_answer_bytes: int = 10_000_000,
        timeout: float | timedelta = 30.0,
        client: Client | None = None,
        base_url: str = "https://write.withampersand.com",
        platform_url: str = "https://api.withampersand.com",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            client,
            timeout=timeout,
            max_answer_bytes=max_answer_bytes,
            clock=clock,
            secrets={"x-api-key": Secret("api_key", api_key)},
        )
        _one_of("provider", provider, (None, "salesforce", "hubspot"))
        _one_of("mode", mode, ("synchronous", "asynchronous"))
        if headers and provider != "salesforce":
            raise ValueError("headers are for provider='salesforce' only: leave them out")
        self._project, self._integration = quoted("project", project), quoted("integration", integration)
        quoted("group_ref", group_ref)  # goes into the body, and must be a name all the same
        self._group_ref, self._provider = group_ref, provider
        self._asynchronous = _asynchronous(mode, retry_deadline_hours, max_delay_minutes)
        self._headers = tuple(sorted(checked_headers(headers or {}).items()))
        self._max_records = at_least_one("max_records", max_records, _MAX_RECORDS)
        self._gathers = max_delay_minutes is not None
        self._max_request_bytes = at_least_one("max_request_bytes", max_request_bytes)
        self._base_url = checked_base_url("base_url", base_url)
        self._platform_url = checked_base_url("platform_url", platform_url)
        self._lane = ready(self._make_lane)

    def __repr__(self) -> str:
        return f"Ampersand({self._project!r}, {self._integration!r}, provider={self._provider!r})"

    def encode(self, write: Write) -> Prepared:
        """Validate what is special here, and encode, or raise :class:`~batcher.errors.InvalidRecord`."""
        if write.headers and self._provider != "salesforce":
            raise InvalidRecord("headers are for provider='salesforce' only: leave them out")
        item = item_of(write, self._provider)
        headers = self._headers
        if write.headers:
            headers = tuple(sorted((dict(headers) | checked_headers(write.headers)).items()))
        lane = self._lane(write.object, write.type, headers)
        identity: Hashable = None
        if item.record_id is not None:
            place = (self._base_url, self._project, self._integration, self._group_ref)
            identity = ("ampersand", *place, write.object, same_id(item.record_id, self._provider))
        return Prepared(lane, item, len(item.piece) + ITEM_BYTES, identity)

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry."""
        shared = cast(Lane, lane)
        single = self._gathers or shared.type is WriteType.DELETE
        # HubSpot updates are partial whatever the request says.
        whole = shared.type is WriteType.CREATE or (shared.type is WriteType.UPDATE and self._provider == "salesforce")
        return LaneRules(
            max_records=1 if single else self._max_records,
            max_bytes=max(1, self._max_request_bytes - shared.batch_bytes),
            all_or_none=whole,
            idempotent=shared.type is not WriteType.CREATE and not self._asynchronous,
        )

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call; see :meth:`Destination.send`."""
        shared, records = cast(Lane, lane), cast(Sequence[Item], items)
        method, path, body = request_of(shared, records, all_or_none)
        answer = await self._sender.request(method, self._base_url + path, body)
        return verdicts_of(
            answer,
            records,
            type=shared.type,
            provider=self._provider,
            now=self._clock(),
            all_or_none=all_or_none,
            asynchronous=bool(self._asynchronous),
        )

    async def operation(
        self, operation_id: str, *, wait: bool = False, poll_interval: float | timedelta = 5.0
    ) -> Operation:
        """Return what became of an asynchronous request.

        :param wait: ask again until it has ended; put a timeout around it
        :param poll_interval: seconds or timedelta between two questions
        :raises BatcherError: the service does not know it, or cannot be reached
        :raises BatcherNotOpen: outside of ``async with``
        """
        pause = to_seconds("poll_interval", poll_interval)
        if isinf(pause):
            raise ValueError("poll_interval must be finite; to ask once, leave wait out")
        url = f"{self._platform_url}/v1/projects/{self._project}/operations/{quoted('operation_id', operation_id)}"
        while True:
            try:
                answer = await self._sender.request("GET", url)
            except Retry as error:
                raise BatcherError(f"the operation {operation_id!r} cannot be read: {error}") from error
            operation = operation_of(answer, operation_id)
            if operation.ended or not wait:
                return operation
            await anyio.sleep(pause)

    def _make_lane(self, object: str, type: WriteType, headers: tuple[tuple[str, str], ...]) -> Lane:
        name = quoted("object", object)
        path = f"/v1/projects/{self._project}/integrations/{self._integration}/objects/{name}"
        return Lane(object, type, path, envelope_of(self._group_ref, type, headers, self._asynchronous))


def _one_of(name: str, value: object, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def _asynchronous(mode: Mode, hours: int | None, minutes: int | None) -> dict[str, Any]:
    """Return the members of an asynchronous request; none for a synchronous one."""
    if mode == "synchronous":
        if hours is not None or minutes is not None:
            name = "max_delay_minutes" if hours is None else "retry_deadline_hours"
            raise ValueError(f"{name} needs mode='asynchronous': the service retries and gathers nothing else")
        return {}
    members: dict[str, Any] = {"mode": mode}
    if hours is not None:
        at_least_one("retry_deadline_hours", hours, _MAX_HOURS)
    if minutes is not None:
        members["autoBatchPolicy"] = {"maxDelayMinutes": at_least_one("max_delay_minutes", minutes, _MAX_MINUTES)}
        if hours is not None:
            members["autoBatchPolicy"]["retryDeadlineHours"] = hours
    elif hours is not None:
        members["retryPolicy"] = {"deadlineHours": hours}
    return members
