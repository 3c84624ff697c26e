"""An organisation of Salesforce in the sandbox, and what is sent to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from batcher.sandbox import SalesforceSandbox
from tests.sandbox.transport import client_of

DATA = "/services/data/v60.0"
SET = f"{DATA}/composite/sobjects"
ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"


@asynccontextmanager
async def org(*names: str, **options: Any) -> AsyncIterator[tuple[SalesforceSandbox, httpx.AsyncClient, list[str]]]:
    """A sandbox with contacts, a client, and the contacts' ids."""
    with SalesforceSandbox(**options) as sandbox:
        async with client_of(sandbox) as client:
            if names:
                await client.post(SET, json=body(*(contact(LastName=name) for name in names)))
            yield sandbox, client, [row["id"] for row in sandbox.records("Contact")]


def contact(type: str = "Contact", **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": type}, **fields}


def body(*records: Any, all_or_none: bool = False) -> dict[str, Any]:
    return {"allOrNone": all_or_none, "records": list(records)}


def codes(answer: httpx.Response) -> list[str | None]:
    assert answer.status_code == 200
    return [None if item["success"] else item["errors"][0]["statusCode"] for item in answer.json()]


def names(sandbox: SalesforceSandbox) -> list[str]:
    return [row["fields"]["LastName"] for row in sandbox.records("Contact")]
