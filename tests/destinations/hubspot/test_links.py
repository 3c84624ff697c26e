"""HubSpot: associations of records that exist already, and how their failures are told."""

import json
from typing import Any

import pytest

from batcher.destinations._http.answers import Answer
from batcher.destinations.hubspot.links import LinkCall, failures_of, link_calls, unlinked, warned, wishes_of
from batcher.destinations.hubspot.requests import Paths
from batcher.outcomes import Rejected, Unknown, Written
from batcher.writes import Association, Write
from tests.destinations.hubspot.helpers import FAR, answer, bad, done, items_of, update, upsert

DEAL = Association("7", 4, object="deals")
LABEL = Association("101", 36, "USER_DEFINED", object="companies")
SILENT = "HubSpot does not say that it was"


def calls_of(
    writes: list[Write], verdicts: list[Any], max_bytes: int = 1_000_000, version: str = "2026-03"
) -> list[LinkCall]:
    return link_calls("contacts", wishes_of(items_of(writes), verdicts), Paths(version), max_bytes)


def one_call(*records: str) -> LinkCall:
    """Each of these contacts is to be linked to the same company."""
    (call,) = calls_of([update(each, associations=[FAR]) for each in records], [Written(each) for each in records])
    return call


def made(source: Any, target: Any = "101") -> dict[str, Any]:
    return {"fromObjectId": source, "toObjectId": target, "labels": []}


def told(reply: Answer, *records: str) -> dict[str, str]:
    return {wish.source: reason for wish, reason in failures_of(reply, one_call(*records))}


@pytest.mark.parametrize(
    ("version", "root"), [("2026-03", "/crm/associations/2026-03"), ("v3", "/crm/v4/associations")]
)
def test_the_request_is_in_the_words_of_the_api(version: str, root: str) -> None:
    """
    One call for each kind of other record, one input for each pair, with all types of it; only for what was written.
    """
    writes = [
        update("1", associations=[FAR, DEAL, LABEL]),
        update("2", associations=[FAR]),
        update("3", associations=[FAR]),
        update("4", associations=[DEAL]),
    ]
    verdicts = [Written("1"), Rejected("no"), Unknown("lost"), Written("4")]
    companies, deals = calls_of(writes, verdicts, version=version)
    default = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
    deal = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 4}
    label = {"associationCategory": "USER_DEFINED", "associationTypeId": 36}

    assert companies.path == f"{root}/contacts/companies/batch/create"
    assert json.loads(companies.body) == {
        "inputs": [{"from": {"id": "1"}, "to": {"id": "101"}, "types": [default, label]}]
    }
    assert deals.path == f"{root}/contacts/deals/batch/create"
    assert json.loads(deals.body) == {
        "inputs": [
            {"from": {"id": "1"}, "to": {"id": "7"}, "types": [deal]},
            {"from": {"id": "4"}, "to": {"id": "7"}, "types": [deal]},
        ]
    }


def test_nothing_is_asked_for_without_associations() -> None:
    """A plain update costs one call."""
    assert calls_of([update("1")], [Written("1")]) == []


def test_calls_keep_to_the_limits() -> None:
    """2,000 associations in a call, and no more bytes than allowed, unless one alone has more."""
    links = [Association(str(n), 279, object="companies") for n in range(5001)]
    writes, verdicts = [update("1", associations=links)], [Written("1")]
    sizes = [len(call.wishes) for call in calls_of(writes, verdicts)]
    small = calls_of(writes, verdicts, 1000)
    exact = len(small[0].body)

    assert sizes == [2000, 2000, 1001]
    assert max(len(call.body) for call in small) <= 1000
    assert sum(len(call.wishes) for call in small) == 5001
    assert len(calls_of(writes, verdicts, exact + 1)[0].wishes) == len(small[0].wishes)
    assert len(calls_of(writes, verdicts, exact)[0].wishes) < len(small[0].wishes)
    assert [len(call.wishes) for call in calls_of(writes, verdicts, 1)] == [1] * 5001


@pytest.mark.parametrize(
    "reply",
    [
        answer(204),
        answer(201, done([made("1"), made("2")])),
        answer(201, done([made(2, 101), made(1, 101)])),
        answer(200, done([{"from": {"id": "2"}, "to": {"id": "101"}}, {"from": {"id": 1}, "to": {"id": 101}}])),
        answer(200, done([{}, {}])),
        answer(207, done([made("1"), made("2")], [bad()])),
    ],
)
def test_associations_that_were_made_are_not_mentioned(reply: Answer) -> None:
    """All results are there, or those of each pair: ids are texts or numbers, flat or nested."""
    assert told(reply, "1", "2") == {}


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        (answer(207, done([made("2")], [bad("no such company", "NOT_FOUND", fromObjectId=["1"])])),
         {"1": "no such company (NOT_FOUND)"}),
        (answer(207, done([made("2")], [bad("m", None, fromObjectId=1)])), {"1": "m"}),
        (answer(207, done([made("2")], [bad("of whom?", "NOT_FOUND")])), {"1": "NOT_FOUND"}),
        (answer(207, done([made("2")], [bad("of whom?", None)])), {"1": SILENT}),
        (answer(207, done([], [bad("a", "A", fromObjectId=["1"]), bad("b", "B")])), {"1": "a (A)", "2": SILENT}),
        (answer(207, done([made("2", "8")], ["text"])), {"1": SILENT, "2": SILENT}),
        (answer(207, {"results": [made("2"), {}], "errors": [bad("m", "X")]}), {"1": "X"}),
        (answer(200, done([made("2")])), {"1": SILENT}),
        (answer(200, done([made("2"), "text"], None, numErrors=1)), {"1": SILENT}),
        (answer(200, done(None)), {"1": SILENT, "2": SILENT}),
        (answer(200, b"text"), dict.fromkeys("12", "HTTP_200 without a JSON object")),
        (Answer(207, flaw="broke off"), dict.fromkeys("12", "HTTP_207 without a JSON object")),
        (Answer(204, body=b"text"), dict.fromkeys("12", "HTTP_204 without a JSON object")),
        (answer(400, bad("quotes 2", "VALIDATION_ERROR")), dict.fromkeys("12", "VALIDATION_ERROR")),
        (answer(400, b""), dict.fromkeys("12", "HTTP_400")),
        (answer(503, {"message": "quotes 2"}), dict.fromkeys("12", "HTTP_503")),
    ],
)  # fmt: skip
def test_associations_that_were_not_made_are_told(reply: Answer, reasons: dict[str, str]) -> None:
    """Each to its own caller. Words of HubSpot that may be about somebody else stay out: there is a code then."""
    assert told(reply, "1", "2") == reasons


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(400, bad("no such company", "VALIDATION_ERROR")), "no such company (VALIDATION_ERROR)"),
        (answer(207, done([], [bad("no such company", "NOT_FOUND")])), "no such company (NOT_FOUND)"),
        (answer(500, b"oops"), "HTTP_500"),
    ],
)
def test_words_about_one_record_reach_its_caller(reply: Answer, reason: str) -> None:
    """With one record in the call they can be about nobody else."""
    assert told(reply, "1") == {"1": reason}


def test_a_failure_is_a_warning_and_no_other_outcome() -> None:
    """The record is written; warnings that it has already stay."""
    verdicts = [Written("1", "data", ["w"]), Rejected("no"), Written("2")]
    writes = [update(each, associations=[FAR, DEAL]) for each in "123"]
    wishes = wishes_of(items_of(writes), verdicts)
    outcomes = warned(verdicts, [(wishes[0], "first"), (wishes[1], "second")])
    start = "the association with"

    assert outcomes[0] == Written(
        "1",
        "data",
        [
            "w",
            f"{start} companies 101 may not have been made: first",
            f"{start} deals 7 may not have been made: second",
        ],
    )
    assert outcomes[1:] == verdicts[1:]


def test_a_record_without_an_id_cannot_be_linked() -> None:
    """An upsert that was written, though HubSpot did not say as what, is told so."""
    verdicts = [Written("1"), Written(), Unknown("x"), Written()]
    writes = [upsert("a", associations=[FAR]), upsert("b", associations=[FAR]), upsert("c", associations=[FAR])]
    items = items_of([*writes, upsert("d")])
    outcomes = unlinked(items, verdicts)

    assert [wish.source for wish in wishes_of(items, verdicts)] == ["1"]
    assert outcomes[1].warnings == ("its associations were not made: HubSpot did not tell the id of the record",)
    assert [outcomes[index] for index in (0, 2, 3)] == [verdicts[index] for index in (0, 2, 3)]


def test_p13_links_are_not_printed() -> None:
    """Neither the ids nor the calls."""
    shown = repr(one_call("source-1")) + repr(items_of([update("1", associations=[FAR])]))

    assert "source-1" not in shown
    assert "101" not in shown
