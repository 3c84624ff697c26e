"""The public names, and how the types of the first example come out."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from typing import Any, assert_type

import pytest

import batcher
import batcher.destinations
from batcher import Accepted, Batcher, Receipt, Retry, Writer, Written

NAMES = [
    "Accepted",
    "Association",
    "AutoBatchPolicy",
    "Batcher",
    "BatcherClosed",
    "BatcherError",
    "BatcherNotOpen",
    "BreakerPolicy",
    "ErrorDetail",
    "Event",
    "EventKind",
    "EventLog",
    "Fairness",
    "FlushReason",
    "InvalidGroup",
    "InvalidRecord",
    "Limits",
    "NestedSubmit",
    "NotWritten",
    "Outcome",
    "Overloaded",
    "Quota",
    "Receipt",
    "RecordError",
    "RecordNotWritten",
    "RecordRejected",
    "RecordRolledBack",
    "RecordUnknown",
    "Refused",
    "Rejected",
    "Retry",
    "RetryPolicy",
    "RolledBack",
    "Statistics",
    "Timing",
    "Unknown",
    "Write",
    "WriteType",
    "Writer",
    "Written",
]


def test_the_public_names_are_exactly_these():
    """Adding or removing one is a decision, so it fails a test."""
    public = [name for name in dir(batcher) if not name.startswith("_")]
    assert sorted(public) == sorted(batcher.__all__) == sorted(NAMES)
    with pytest.raises(AttributeError, match="Bacher"):
        batcher.Bacher  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_the_same_thing_for_a_type_checker_and_at_run_time(name):
    """Names are imported on first use; the imports that type checkers read say where from."""
    tree = ast.parse(inspect.getsource(batcher))
    homes = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert getattr(batcher, name) is getattr(import_module(homes[name] or ""), name)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name):
    """And so is every public method and property of it."""
    thing = getattr(batcher, name)
    assert thing.__doc__
    for attribute, value in vars(thing).items():
        if not attribute.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{attribute}"


def test_destinations_are_found_where_the_design_says():
    """Lazily, and with a clear error for others."""
    assert {"Ampersand", "Destination", "HttpBatch", "HubSpot", "Prepared", "SQLite", "Salesforce", "Table"} == set(
        batcher.destinations.__all__
    )
    assert batcher.destinations.SQLite.__name__ == "SQLite"
    assert batcher.destinations.Table.__name__ == "Table"
    assert batcher.destinations.Salesforce.__name__ == "Salesforce"
    assert batcher.destinations.HttpBatch.__name__ == "HttpBatch"
    with pytest.raises(AttributeError, match="HubSpoot"):
        batcher.destinations.HubSpoot  # type: ignore[attr-defined]  # noqa: B018


async def typed_uses() -> None:
    """Checked by mypy, never run."""

    async def write(key: str, records: list[dict[str, str]]) -> list[int | Retry]:
        return [len(record) for record in records]

    async with Batcher(write) as batcher_:
        assert_type(await batcher_.submit({"a": "b"}), int)
        assert_type(await batcher_.enqueue({"a": "b"}), Receipt[int])
        await batcher_.submit("text")  # type: ignore[arg-type]
    destination: Any = None
    async with Writer(destination) as crm:
        assert_type(await crm.create("contacts", {"email": "a"}), Written | Accepted)


@pytest.mark.parametrize(
    "name", ["AutoBatchPolicy", "BreakerPolicy", "Fairness", "Limits", "Quota", "RetryPolicy", "Timing"]
)
def test_help_explains_each_figure(name):
    """In the docstring of the class: what stands below an attribute, help() cannot see."""
    thing = getattr(batcher, name)
    words = inspect.getdoc(thing)
    assert words is not None
    for parameter in inspect.signature(thing).parameters:
        assert f":param {parameter}: " in words
