"""The server against its own OpenAPI document: requests made up from it, every answer compared to it.

``BATCHER_SOAK=5000 pytest tests/server/openapi/test_schema.py`` makes up that many examples of each operation instead
of a few.
"""

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.engine import events, from_schema
from schemathesis.python.asgi import shutdown_lifespans
from starlette.applications import Starlette

import batcher
from batcher import AutoBatchPolicy
from batcher.destinations import SQLite
from batcher.destinations.sqlite import Table
from batcher.server import write_api
from batcher.server._openapi.document import document
from batcher.server._requests import request_of
from tests.server.chaos_moods import MOODS, Moody

SOAK = int(os.environ.get("BATCHER_SOAK", "0"))
KEY = "a-key"
# What every answer is held to, and with it every request.
ALWAYS = [
    "status_code_conformance",  # no status that the document does not name for this operation
    "content_type_conformance",  # nor another content type for this status
    "response_schema_conformance",  # nor another body for this content type, formats such as date-time included
    "response_headers_conformance",
    "ignored_auth",  # what needs a key is refused without one and with a made-up one
    "unsupported_method",  # 405, and Allow says what there is
    "allow_header_conformance",
    "missing_required_header",
]
# Left out everywhere:
# * use_after_free, ensure_resource_availability: there are no addresses of records that could be deleted or created.
# * object_level_authorization: every key is let into every project, as documented.
# * max_response_time: says something of the machine only.
OBJECTS = ["contacts", "deals"]


@pytest.fixture
def ended() -> Iterator[None]:
    """Schemathesis starts the lifespan of an app and keeps it; ending it drains, which must go well too.

    A warning that is an error would end the making up of examples early and without a word, so they are gathered.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        shutdown_lifespans()
    ours = [str(each.message) for each in caught if Path(each.filename).is_relative_to(Path(batcher.__file__).parent)]
    assert not ours


def examples(few: int) -> int:
    return SOAK or few


def api(destination: Any) -> Starlette:
    return write_api(
        destination,
        api_keys=[KEY],
        deletion_enabled=OBJECTS,
        # No waiting for company, one example comes after the other.
        auto_batch=AutoBatchPolicy(max_delay=0.0),
        synchronous_deadline=20.0,
        max_body_bytes=100_000,
    )


def asked(schema: Any, checks: list[str], examples: int, modes: list[Any], stateful: int) -> Counter[tuple[str, int]]:
    """Make requests up, fail if an answer breaks one of *checks*; return how often each operation gave each status."""
    schema.config.update(headers={"X-Api-Key": KEY}, continue_on_failure=True)
    schema.config.checks.update(included_check_names=checks)
    generation = {"deterministic": not SOAK, "no_shrink": not SOAK, "modes": modes}
    schema.config.generation.update(max_examples=examples, **generation)
    # What it learns of answers is for finding addresses of records: there are none, and it takes most of the time.
    for phase in (schema.config.phases.fuzzing, schema.config.phases.coverage, schema.config.phases.examples):
        phase.extra_data_sources.responses = False
    schema.config.phases.stateful.generation.update(max_examples=stateful, **generation)
    seen: Counter[tuple[str, int]] = Counter()
    failures: dict[str, str] = {}
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.FatalError), event.exception
        assert not isinstance(event, events.NonFatalError), event.info.format()
        if isinstance(event, events.ScenarioFinished):
            _note(event.recorder, seen, failures)
    assert not failures, "\n\n".join(failures.values())
    return seen


def _note(recorder: Any, seen: Counter[tuple[str, int]], failures: dict[str, str]) -> None:
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None and case_id in recorder.cases:
            seen[
                recorder.cases[case_id].value.operation.label.rpartition("/")[2], interaction.response.status_code
            ] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                case = recorder.cases[case_id].value
                key = f"{check.name} {case.operation.label} {check.failure_info.failure.message[:60]}"
                failures.setdefault(
                    key, f"{check.name}: {check.failure_info.failure.message}\n{case.as_curl_command()[:2000]}"
                )


@pytest.mark.usefixtures("ended")
def test_no_answer_is_missing_from_the_document() -> None:
    """Valid and broken requests, each operation by itself and one after the other: no 5xx, nothing undocumented,
    and nothing that the document forbids is taken.

    positive_data_acceptance is for the other test: no schema tells what this destination takes.
    """
    schema = schemathesis.openapi.from_asgi("/openapi.json", api(SQLite(":memory:")))
    # What is too long is refused without a look at it.
    refused = ["400", "401", "403", "404", "405", "413", "415", "422"]
    schema.config.checks.negative_data_rejection.expected_statuses = refused
    checks = ["not_a_server_error", "negative_data_rejection", *ALWAYS]
    seen = asked(schema, checks, examples(80), list(schemathesis.GenerationMode), stateful=examples(50))
    assert seen.total() >= 800, seen
    assert {status for _, status in seen} >= {200, 400, 401, 404, 405, 415}


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("kind", ["moody", "sqlite"])
def test_what_the_document_allows_is_taken_and_answered_as_documented(kind: str) -> None:
    """Requests that also keep the rules that no schema tells: every form of every answer, and none of them odd."""
    rules = {name: Table(unique=["email"], required=["mood"]) for name in OBJECTS}
    destination = Moody() if kind == "moody" else SQLite(":memory:", objects=rules)
    schema = schemathesis.openapi.from_dict(narrowed(is_moody=kind == "moody"))
    schema.app = api(destination)
    writes = schema.include(method="POST")
    # A record may be refused by the destination, and what was not written for want of a turn is a 503 by contract.
    accepted = {"2xx", "401", "404", "422"} | ({"503"} if kind == "moody" else set())
    schema.config.checks.positive_data_acceptance.expected_statuses = sorted(accepted)
    schema.config.checks.not_a_server_error.expected_statuses = ["2xx", "4xx", *(accepted & {"503"})]
    checks = ["not_a_server_error", "positive_data_acceptance", *ALWAYS]
    modes = [schemathesis.GenerationMode.POSITIVE]
    seen = asked(writes, checks, examples(350), modes, stateful=1)
    assert seen.total() >= 600, seen
    assert {status for _, status in seen} >= {200, 401, 422, *({503} if kind == "moody" else ())}


@pytest.mark.parametrize("hours", [2, 2.0])
def test_a_whole_number_is_one_in_whatever_form(hours: float) -> None:
    """JSON Schema calls 2.0 an integer, and so does the document: it is taken for 2."""
    body = {"groupRef": "g", "type": "create", "mode": "asynchronous", "record": {"n": 1}}
    policies = ({"retryPolicy": {"deadlineHours": hours}}, {"autoBatchPolicy": {"maxDelayMinutes": hours}})
    retry, window = (request_of("p", "i", "o", json.dumps(body | policy).encode()) for policy in policies)
    assert retry.retry_deadline == 7200.0 and window.max_delay == 120.0


def narrowed(*, is_moody: bool) -> dict[str, Any]:
    """Return the document of the server with requests narrowed to those that must be taken; its answers as they are."""
    whole: dict[str, Any] = document(100_000)
    for path in whole["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _parameter(parameter["name"], parameter["schema"])
    whole["components"]["schemas"]["WriteRequest"] = _requests(is_moody)
    return whole


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if name == "pageSize":
        return schema
    if name == "pageToken":
        return {"enum": ["MQ==", "MTAw", "MA=="]}
    return {"enum": OBJECTS} if name == "object" else {"enum": ["p", "a name", "a/b", "ä"]}


def _requests(is_moody: bool) -> dict[str, Any]:
    """Return the forms of requests, each with the members that go together."""
    fields: dict[str, Any] = {"email": {"enum": [*list("abcdefghij"), None, 1, 0.5, True, [1], {"a": "b"}]}}
    fields["mood"] = {"enum": list(MOODS)}
    name = {"type": "string", "pattern": "^[1-9][0-9]?$"}
    create = _record(["mood"], fields)
    update = _record(["id", "mood"], {"id": name, **fields})
    delete = _record(["id"], {"id": name})
    hours = {"type": "integer", "minimum": 1, "maximum": 48}
    window = _record(["maxDelayMinutes"], {"maxDelayMinutes": {"enum": [1, 1440]}, "retryDeadlineHours": hours})
    mode = {"enum": ["synchronous", "asynchronous", None]}
    shared = {"retryPolicy": _record([], {"deadlineHours": hours})}
    link = {"to": {"id": "7"}, "types": [{"associationTypeId": 279}]}
    links = {"associations": {"enum": [[], None, [link], [link, link]] if is_moody else [[], None]}}
    header = {"key": "Sforce-Duplicate-Rule-Header", "value": "allowSave=true"}
    shared["headers"] = {"enum": [[], None, [header]] if is_moody else [[], None]}
    policy = _record([], {"allOrNone": {"enum": [True, False, None]}})
    forms = [_form("delete", record=delete, mode=mode, **shared)]
    for kind, record in (("create", create), ("update", update)):
        # One update of a record in a group, because two of one record are refused.
        many = {"type": "array", "minItems": 1, "maxItems": 5 if kind == "create" else 1}
        batch = {**many, "items": _record(["record"], {"record": record, **links})}
        forms.append(_form(kind, record=record, mode=mode, **links, **shared))
        forms.append(_form(kind, batch=batch, mode=mode, batchPolicy=policy, **shared))
        alone = {"autoBatchPolicy": window, "mode": {"const": "asynchronous"}}
        forms.append(
            {
                **_form(kind, record=record, **alone, **links, **shared),
                "required": ["type", "groupRef", "record", *alone],
            }
        )
    return {"oneOf": forms}


def _form(kind: str, **members: Any) -> dict[str, Any]:
    carrier = "batch" if "batch" in members else "record"
    properties = {"type": {"const": kind}, "groupRef": {"enum": ["g", "ä b"]}, **members}
    return _record(["type", "groupRef", carrier], properties)


def _record(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
