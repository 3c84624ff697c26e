"""A stand-in for HubSpot's CRM API: batches, single records, associations, tokens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from starlette.requests import Request

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._app import Sandbox
from batcher.sandbox._calls import Refused
from batcher.sandbox._faults import Fault, Faults
from batcher.sandbox._tokens import bearer_of
from batcher.sandbox.hubspot.answers import Problem, bad_grant, bad_json, throttled
from batcher.sandbox.hubspot.batches import Batches
from batcher.sandbox.hubspot.handlers import BatchHandlers, RecordHandlers
from batcher.sandbox.hubspot.limits import HubSpotLimits, Meter
from batcher.sandbox.hubspot.records import DEFAULT_OBJECTS, HubSpotObject, Records

_VERSION: Final = re.compile(r"\d{4}-(03|09)(-beta)?")
# Undated and dated: /crm/v3/objects/contacts and /crm/objects/2026-03/contacts are one place.
_OBJECTS: Final = ("/crm/v3/objects/{type}", "/crm/objects/{version}/{type}")
_ASSOCIATIONS: Final = (
    "/crm/v3/associations/{from}/{to}",
    "/crm/v4/associations/{from}/{to}",
    "/crm/associations/{version}/{from}/{to}",
)


class HubSpotSandbox(Sandbox):
    """An ASGI app that stands in for one HubSpot account; see :class:`Sandbox` for what all sandboxes have.

    :param objects: what the account knows of types of objects; others have no unique properties and any others
    :param limits: of calls
    :param echo_trace: results name their input. Nobody has recorded an answer that does
    :param created_status: of a batch of creates without errors; HubSpot has answered 200 as well
    """

    TOKEN: ClassVar[str] = "pat-na1-sandbox"  # noqa: S105
    REFRESH_TOKEN: ClassVar[str] = "sandbox-refresh-token"  # noqa: S105

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        objects: Mapping[str, HubSpotObject] = DEFAULT_OBJECTS,
        limits: HubSpotLimits | None = None,
        echo_trace: bool = False,
        created_status: int = 201,
        faults: Faults | Fault | Iterable[Fault] | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        token_lifetime: float = 1800.0,
    ) -> None:
        super().__init__(path, faults=faults, seed=seed, clock=clock, token_lifetime=token_lifetime)
        self._meter = Meter(limits or HubSpotLimits())
        records = Records(self.store, objects, clock)
        batches = Batches(records, self.dice, echo_trace)
        self._serve(BatchHandlers(batches, self.faults, created_status), RecordHandlers(batches, records))

    def _serve(self, many: BatchHandlers, one: RecordHandlers) -> None:
        for version in ("v1", "v3"):
            self._route(f"/oauth/{version}/token", "POST", self._issue, admitted=True)
        for root in _OBJECTS:
            for verb, handler in many.verbs().items():
                self._route(f"{root}/batch/{verb}", "POST", handler)
            self._route(root, "POST", one.create)
            self._route(f"{root}/{{id}}", "GET", one.read)
            self._route(f"{root}/{{id}}", "PATCH", one.update)
            self._route(f"{root}/{{id}}", "DELETE", one.archive)
        for root in _ASSOCIATIONS:
            self._route(f"{root}/batch/create", "POST", many.associate)

    # Whom it lets in

    def _admit(self, request: Request) -> None:
        token = bearer_of(request)
        if not self.tokens.knows(token):
            raise self._failure(
                401,
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find "
                "more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
                "INVALID_AUTHENTICATION",
            )
        if not self.tokens.admits(token):
            raise self._expired()
        if not _VERSION.fullmatch(request.path_params.get("version", "2026-03")):
            raise self._failure(404, "there is no such version")
        policy = self._meter.exceeded()
        if policy is not None:
            raise self._throttled(policy)

    def _headers(self) -> dict[str, str]:
        return self._meter.headers()

    def _failure(self, status: int, message: str, code: str = "") -> Refused:
        return Problem(status, code, message)

    def _unreadable(self, error: NotJSON) -> Refused:
        return bad_json(str(error))

    def _expired(self) -> Refused:
        return self._failure(401, "The OAuth token used to make this call expired", "EXPIRED_AUTHENTICATION")

    def _throttled(self, code: str) -> Refused:
        return throttled(code or "TEN_SECONDLY_ROLLING")

    def _grant(self, form: Mapping[str, str], request: Request) -> dict[str, Any]:
        if form.get("grant_type") != "refresh_token":
            raise bad_grant("BAD_GRANT_TYPE", "missing or unknown grant type")
        if (form.get("client_id"), form.get("client_secret")) != (self.CLIENT_ID, self.CLIENT_SECRET):
            raise bad_grant("BAD_CLIENT_ID", "missing or unknown client id")
        if form.get("refresh_token") != self.REFRESH_TOKEN:
            raise bad_grant("BAD_REFRESH_TOKEN", "missing or unknown refresh token")
        return {"refresh_token": self.REFRESH_TOKEN, "expires_in": int(self.tokens.lifetime), "token_type": "bearer"}
