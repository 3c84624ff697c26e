"""Stand-ins for HubSpot and Salesforce, with faults to order: ASGI apps over SQLite. Needs the extra ``server``.

    with HubSpotSandbox(faults=[Fault("reset", applied=True)]) as sandbox:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(sandbox), base_url="http://sandbox")

Over sockets they are served by ``batcher sandbox hubspot|salesforce``.
"""

from __future__ import annotations

from batcher._extras import needed_by

with needed_by("batcher.sandbox", "server", "starlette", "prometheus_client"):
    from batcher.sandbox._app import Sandbox
from batcher.sandbox._breaking import ConnectionLost
from batcher.sandbox._faults import Fault, FaultKind, Faults
from batcher.sandbox.hubspot import HubSpotSandbox
from batcher.sandbox.hubspot.limits import HubSpotLimits
from batcher.sandbox.hubspot.records import HubSpotObject
from batcher.sandbox.salesforce import SalesforceSandbox
from batcher.sandbox.salesforce.records import SalesforceObject

__all__ = [
    "ConnectionLost",
    "Fault",
    "FaultKind",
    "Faults",
    "HubSpotLimits",
    "HubSpotObject",
    "HubSpotSandbox",
    "SalesforceObject",
    "SalesforceSandbox",
    "Sandbox",
]
