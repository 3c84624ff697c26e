"""Which writes may be sent again when their answer was lost."""

from __future__ import annotations

from typing import Any

import pytest

from batcher import Write
from batcher.destinations import Ampersand, HubSpot, Salesforce, SQLite, Table

SF_ID = "003xx0000000001"
DESTINATIONS = {
    "sqlite": SQLite(":memory:", objects={"contacts": Table(unique=["email"])}),
    "hubspot": HubSpot(token="t"),
    "salesforce": Salesforce(access_token="t", instance_url="https://x.example.com"),
    "ampersand": Ampersand("p", "i", api_key="k", group_ref="g"),
}
WRITES = [
    Write("contacts", "create", {"email": "a"}),
    Write("contacts", "update", {"id": SF_ID, "email": "a"}),
    Write("contacts", "delete", {"id": SF_ID}),
    Write("contacts", "upsert", {"email": "a"}, by="email"),
]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        (name, write)
        for name in DESTINATIONS
        for write in WRITES
        if (name, write.type) != ("ampersand", "upsert")  # it has none
    ],
)
def test_a_create_is_never_sent_again_on_its_own_and_the_others_are(name: str, write: Any) -> None:
    """A second update, upsert or delete changes nothing; a second create is a second record (P7)."""
    destination: Any = DESTINATIONS[name]
    rules = destination.rules(destination.encode(write).lane)
    assert rules.idempotent == (write.type != "create")


def test_what_a_service_takes_over_is_not_sent_twice() -> None:
    """Two asynchronous updates would be two operations, and nobody knows which is done first."""
    destination = Ampersand("p", "i", api_key="k", group_ref="g", mode="asynchronous")
    assert not destination.rules(destination.encode(WRITES[1]).lane).idempotent
