"""The destinations that the general tests are for. One more row, and they are for another one."""

from tests.destinations.ampersand.helpers import KIND as AMPERSAND
from tests.destinations.http_batch.helpers import KIND as HTTP_BATCH
from tests.destinations.hubspot.helpers import KIND as HUBSPOT
from tests.destinations.salesforce.helpers import KIND as SALESFORCE
from tests.destinations.service import Kind

KINDS: dict[str, Kind] = {
    "hubspot": HUBSPOT,
    "salesforce": SALESFORCE,
    "ampersand": AMPERSAND,
    "http_batch": HTTP_BATCH,
}
AUTHORIZED = {name: kind for name, kind in KINDS.items() if kind.app is not None}
VERIFIABLE = {name: kind for name, kind in KINDS.items() if kind.verified is not None}
