"""A scripted Salesforce, for the tests that go through the writer."""

import json
from collections.abc import Callable
from typing import Any

from batcher import AutoBatchPolicy, RetryPolicy, Writer
from tests.destinations.salesforce.helpers import fault, salesforce, sf_id

# One try per record, so that no test waits for a backoff.
ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(backoff_base=0)
NA1 = "https://na1.my.salesforce.com"
EXPIRED = (401, fault("INVALID_SESSION_ID", "Session expired or invalid"))
APP: dict[str, Any] = {"access_token": None, "client_id": "app", "client_secret": "s3cret"}


class Org:
    """A scripted Salesforce behind a mock transport; by default it writes everything and gives numbered tokens."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.script: list[Callable[[list[Any]], tuple[int, Any]]] = []
        self.tokens: list[tuple[int, Any]] = []
        self.calls: list[Any] = []
        self.questions: list[Any] = []
        self.requests: list[Any] = []
        self.headers: dict[str, str] = {}
        self.client = module.AsyncClient(transport=module.MockTransport(self.answer))

    def answer(self, request: Any) -> Any:
        if request.url.path.endswith("/services/oauth2/token"):
            self.questions.append(request)
            token = {"access_token": f"t{len(self.questions)}", "instance_url": NA1}
            status, reply = self.tokens.pop(0) if self.tokens else (200, token)
            return self.module.Response(status, json=reply)
        self.requests.append(request)
        records = json.loads(request.content)["records"] if request.content else request.url.params["ids"].split(",")
        self.calls.append(records)
        status, reply = self.script.pop(0)(records) if self.script else (200, list(map(written, records)))
        return self.module.Response(status, json=reply, headers=self.headers)

    def says(self, status: int, reply: Any) -> None:
        self.script.append(lambda records: (status, reply))

    def writer(self, retry: RetryPolicy = ONCE, **options: Any) -> Writer:
        destination = salesforce(client=self.client, **options)
        return Writer(destination, retry=retry, auto_batch=AutoBatchPolicy(max_records=200, max_delay=0.0))

    @property
    def shown(self) -> list[str]:
        """The tokens that arrived."""
        return [request.headers["authorization"] for request in self.requests]


def written(record: Any) -> dict[str, Any]:
    if isinstance(record, str):
        return {"id": record, "success": True, "errors": []}
    return {"id": record.get("id") or sf_id(int(record["LastName"])), "success": True, "errors": []}
