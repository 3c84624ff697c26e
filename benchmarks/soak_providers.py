"""Who is written to in the soak: a sandbox in a process of its own, its faults, and how records look there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import httpx

from batcher import Quota
from batcher.destinations import Destination, HubSpot, Salesforce
from batcher.sandbox import Fault, HubSpotSandbox, SalesforceSandbox
from benchmarks.children import child, line_from

# Of each fault, in the requests that match.
SHARE = 0.02
# A throttled lane of HubSpot stands still for ten seconds.
RARE = 0.005
# A call that takes longer than its destination waits is out for half a minute and more. Where the lane has just learned
# to have few calls out, that holds up all who wait for it.
HUNG = 0.0005
SHORT_DELAY = 2.0
# Salesforce answers 100,000 calls a day, and a day may have begun with more than this soak.
_DAILY_CALLS = 90_000
_SALESFORCE_BY = "Ref__c"
_HUBSPOT_BY = "ref"


@attrs.frozen
class Provider:
    """One of the two, and what a soak needs to know of it."""

    name: str
    object: str
    """A name of an object, with a place for the number of the round."""
    by: str
    """The field that upserts match on."""
    bad: dict[str, str]
    """A field that makes a record be refused."""
    destination: Callable[[str], Destination]
    """Makes one, of the address of the sandbox."""
    timeout: float
    """Seconds that the destination gives a request."""
    particular: Sequence[Fault]
    """Faults besides those of all providers."""

    def quotas(self, seconds: float) -> list[Quota]:
        """Return what the provider allows in so many seconds."""
        if self.name == "hubspot":
            # 190 in any ten seconds, as they arrive; we count them as they leave.
            return [Quota(calls=180, per=10)]
        return [Quota(calls=max(1, int(_DAILY_CALLS / max(seconds, 10.0) * 10)), per=10)]

    def faults(self, *, patient: bool) -> list[Fault]:
        """Return what goes wrong: each fault once, whatever the dice say, and then for as long as it takes.

        :param patient: also with calls that take longer than their destination waits
        """
        standing = [
            _standing("delay", seconds=SHORT_DELAY),
            _standing("delay", seconds=SHORT_DELAY, applied=True),
            _standing("reset"),
            _standing("reset", applied=True),
            _standing("half"),
            _standing("throttle", RARE if self.name == "hubspot" else SHARE),
            _standing("error"),
            _standing("error", status=502, html=True, applied=True),
            _standing("expire"),
            _standing("reject", records=2),
            _standing("lock", records=2),
            *self.particular,
        ]
        once = [attrs.evolve(each, times=1, probability=1.0) for each in standing]
        if patient:
            # The client is gone by then: the sandbox notices, and applies nothing that it has not applied before.
            seconds = self.timeout + 5.0
            standing += [_standing("delay", HUNG, seconds=seconds, applied=applied) for applied in (False, True)]
        return [*once, *standing]


def _hubspot(address: str) -> Destination:
    of = HubSpotSandbox
    return HubSpot(
        client_id=of.CLIENT_ID, client_secret=of.CLIENT_SECRET, refresh_token=of.REFRESH_TOKEN, base_url=address
    )


def _salesforce(address: str) -> Destination:
    of = SalesforceSandbox
    return Salesforce(address, client_id=of.CLIENT_ID, client_secret=of.CLIENT_SECRET)


def _standing(kind: str, probability: float = SHARE, **more: Any) -> Fault:
    return Fault(kind, probability=probability, times=None, **more)


def _dropping(path: str) -> list[Fault]:
    return [_standing("drop", records=3, path=path, applied=applied) for applied in (False, True)]


PROVIDERS = {
    "hubspot": Provider(
        "hubspot",
        "soak_{}",
        _HUBSPOT_BY,
        {"email": "nobody"},
        _hubspot,
        30.0,
        # HubSpot says nothing of what it archives: what is dropped there nobody can tell.
        [
            *(fault for verb in ("create", "update", "upsert") for fault in _dropping(f"/batch/{verb}")),
            _standing("shuffle"),
        ],
    ),
    "salesforce": Provider(
        "salesforce",
        "Soak{}__c",
        _SALESFORCE_BY,
        {"no-name": "of a field"},
        _salesforce,
        50.0,
        # It promises an order, and a new record has nothing else to be known by.
        [*_dropping("/composite/"), _standing("shuffle", method="DELETE")],
    ),
}


@contextmanager
def sandbox_of(provider: Provider, *, rounds: int, seed: int, seconds: float) -> Iterator[tuple[str, int]]:
    """Run ``batcher sandbox`` in a process of its own; give its address and its pid.

    :param rounds: each has an object of its own
    :param seconds: after which it ends by itself, should nobody be left to stop it
    """
    unique = [f"--unique={provider.object.format(number)}.{provider.by}" for number in range(rounds)]
    options = ["--port=0", f"--seed={seed}", f"--for={seconds:.0f}", *unique]
    with child("batcher", "sandbox", provider.name, *options) as process:
        line = line_from(process)
        while " at http" not in line:
            line = line_from(process)
        yield line.partition(" at ")[2], process.pid


@attrs.frozen
class SideDoor:
    """The way into the sandbox that is not the provider's."""

    _client: httpx.AsyncClient

    async def order(self, faults: Sequence[Fault], seed: int) -> None:
        """Order faults, in place of those that stand."""
        body = {"seed": seed, "faults": [fault.to_json() for fault in faults]}
        (await self._client.post("/sandbox/faults", json=body)).raise_for_status()

    async def struck(self) -> tuple[int, dict[str, int]]:
        """Return how many requests came, and how many of them each kind of fault has struck."""
        state = (await self._client.get("/sandbox/faults")).raise_for_status().json()
        return state["requests"], state["struck"]

    async def records(self, object: str) -> list[dict[str, Any]]:
        """Return all records of an object, those that were taken away too."""
        answer = await self._client.get(f"/sandbox/records/{object}", params={"archived": "true"})
        rows: list[dict[str, Any]] = answer.raise_for_status().json()["records"]
        return rows
