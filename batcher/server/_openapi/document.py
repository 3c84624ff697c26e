"""The OpenAPI document of the server: what it takes and every answer that it gives."""

from __future__ import annotations

from typing import Any

from batcher import __version__
from batcher.server._openapi.schemas import COUNT, FREE, NAME, TEXT, ref, schemas

_PROBLEM = "application/problem+json"


def document(max_body_bytes: int) -> dict[str, Any]:
    """Return the document."""
    objects = "/v1/projects/{project}/integrations/{integration}/objects/{object}"
    operation = "/v1/projects/{project}/operations/{operation}"
    operations = "/v1/projects/{project}/integrations/{integration}/installations/{installation}/operations"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The Write API, by batcher",
            "version": __version__,
            "description": "Ampersand's Write API over a destination of your own: single records and batches, "
            f"synchronous, asynchronous and auto-batched. Bodies are limited to {max_body_bytes} bytes.",
        },
        "security": [{"APIKeyHeader": []}],
        "paths": {
            objects: {"post": _write()},
            operation: {"get": _get("getOperation", "Read an operation.", "Operation", ["project", "operation"])},
            f"{operation}/outcomes": {
                "get": _get(
                    "listOutcomes",
                    "Read the outcome of each record of an operation. Not part of Ampersand's API.",
                    "Outcomes",
                    ["project", "operation"],
                    paged=True,
                )
            },
            operations: {
                "get": _get(
                    "listOperations",
                    "List the operations of an installation, named by its groupRef; the newest first.",
                    "Operations",
                    ["project", "integration", "installation"],
                    paged=True,
                )
            },
            "/healthz": {"get": _open("health", "Say whether the server runs.", "application/json", ref("Health"))},
            "/metrics": {"get": _open("metrics", "Metrics, as Prometheus reads them.", "text/plain", TEXT)},
            "/openapi.json": {"get": _open("openapi", "This document.", "application/json", FREE)},
        },
        "components": {
            "securitySchemes": {"APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
            "schemas": schemas(),
        },
    }


def _write() -> dict[str, Any]:
    index = {"description": "The record's index in its operation; with autoBatchPolicy.", "schema": COUNT}
    success = _content("application/json", {"anyOf": [ref("SingleSuccess"), ref("Batch")]})
    failure = _content("application/json", {"anyOf": [ref("SingleFail"), ref("Batch")]})
    return {
        "operationId": "writeRecords",
        "summary": "Create, update or delete records.",
        "parameters": [_name(each) for each in ("project", "integration", "object")],
        "requestBody": {"required": True, **_content("application/json", ref("WriteRequest"))},
        "responses": {
            "200": {
                "description": "Written, in part or all, or taken over.",
                "headers": {"Batcher-Record-Index": index},
                **success,
            },
            "400": {"description": "The request breaks a rule; nothing was accepted.", **_content("text/plain", TEXT)},
            "422": {"description": "Nothing was written.", **failure},
            **_problems(401, 403, 404, 405, 408, 413, 415, 500, 503),
        },
    }


def _get(name: str, summary: str, schema: str, names: list[str], *, paged: bool = False) -> dict[str, Any]:
    size = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 200}
    paging = [
        {"name": "pageSize", "in": "query", "schema": size},
        {"name": "pageToken", "in": "query", "schema": TEXT, "description": "nextPageToken of an earlier page."},
    ]
    bad_name = {"description": "The path holds no name.", **_content("text/plain", TEXT)}
    if paged:
        bad_name["content"][_PROBLEM] = {"schema": ref("Problem")}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [*map(_name, names), *(paging if paged else ())],
        "responses": {
            "200": {"description": "Found.", **_content("application/json", ref(schema))},
            "400": bad_name,
            **_problems(401, 404, 405, 500, 503),
        },
    }


def _open(name: str, summary: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": "As asked.", **_content(media_type, schema)}, **_problems(405)},
    }


def _problems(*statuses: int) -> dict[str, Any]:
    problem = {"description": "What is wrong, and the way out.", **_content(_PROBLEM, ref("Problem"))}
    return {str(status): problem for status in statuses}


def _name(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": NAME}


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": schema}}}
