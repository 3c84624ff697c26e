"""The warts of Salesforce that a client must live with, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from batcher.sandbox import Fault, SalesforceObject
from batcher.sandbox.salesforce.records import DEFAULT_OBJECTS
from tests.api import gather
from tests.sandbox.salesforce.org import DATA, ROLLED_BACK, SET, body, codes, contact, names, org

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"LastName": "x"}, "MISSING_ARGUMENT"),
        ({"id": "12", "LastName": "x"}, "MALFORMED_ID"),
        ({"id": "003000000000000AAA", "LastName": "x"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"id": "{deleted}", "LastName": "x"}, "ENTITY_IS_DELETED"),
        ({"id": "{there}", "LastName": ""}, "REQUIRED_FIELD_MISSING"),
        ({"id": "{there}", "No Such": "x"}, "INVALID_FIELD"),
        ({"id": "{there}", "External_Id__c": "TAKEN"}, "DUPLICATE_VALUE"),
        ({"id": "{first}", "LastName": "x"}, "DUPLICATE_VALUE"),
    ],
)
@pytest.mark.parametrize("all_or_none", [False, True])
async def test_a_bad_update_has_its_code(bad, code, all_or_none):
    """Alone without allOrNone; with it the others say that they were rolled back, and keep their ids."""
    async with org("Ada", "Bob", "Cyd") as (sandbox, client, (ada, bob, cyd)):
        await client.patch(f"{SET}/Contact/External_Id__c", json=body(contact(LastName="D", External_Id__c="taken")))
        await client.delete(SET, params={"ids": cyd})
        ids = {"{deleted}": cyd, "{there}": bob, "{first}": ada}
        record = contact(**{**bad, **({"id": ids.get(bad["id"], bad["id"])} if "id" in bad else {})})
        good = contact(id=ada, LastName="Changed")
        answer = await client.patch(SET, json=body(good, record, all_or_none=all_or_none))
        assert codes(answer) == [ROLLED_BACK if all_or_none else None, code]
        assert answer.json()[0]["id"] == ada
        assert "id" not in answer.json()[1]
        assert names(sandbox) == [("Ada" if all_or_none else "Changed"), "Bob", "D"]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": "x", "Id": "003000000000000AAA"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": "x", "_": 1}, "INVALID_FIELD"),
    ],
)
@pytest.mark.parametrize("all_or_none", [False, True])
async def test_a_bad_create_has_its_code_and_no_id(bad, code, all_or_none):
    """Neither has an innocent that was rolled back."""
    async with org() as (sandbox, client, _):
        records = [contact(LastName="Ada"), contact(**bad), contact(LastName="Bob")]
        answer = await client.post(SET, json=body(*records, all_or_none=all_or_none))
        innocent = ROLLED_BACK if all_or_none else None
        assert codes(answer) == [innocent, code, innocent]
        assert ["id" in item for item in answer.json()] == [not all_or_none, False, not all_or_none]
        assert names(sandbox) == ([] if all_or_none else ["Ada", "Bob"])


async def test_a_rolled_back_upsert_shows_the_id_of_what_was_there():
    """But none for what would have been created."""
    async with org() as (sandbox, client, _):
        path = f"{SET}/Contact/External_Id__c"
        await client.patch(path, json=body(contact(LastName="Ada", External_Id__c="1")))
        records = [contact(LastName="x", External_Id__c=value) for value in ("1", "2", "")]
        answer = await client.patch(path, json=body(*records, all_or_none=True))
        assert codes(answer) == [ROLLED_BACK, ROLLED_BACK, "MISSING_ARGUMENT"]
        assert ["id" in item for item in answer.json()] == [True, False, False]
        assert names(sandbox) == ["Ada"]


async def test_one_external_id_twice_refuses_both():
    """Whatever the case of its letters; the others are written."""
    async with org() as (sandbox, client, _):
        records = [contact(LastName=value, External_Id__c=value) for value in ("a", "b", "A")]
        answer = await client.patch(f"{SET}/Contact/External_Id__c", json=body(*records))
        assert codes(answer) == ["DUPLICATE_VALUE", None, "DUPLICATE_VALUE"]
        assert answer.json()[2]["errors"][0]["message"] == "Duplicate external id specified: A"
        assert names(sandbox) == ["b"]


async def test_an_address_that_several_share_is_ambiguous():
    """E-mail addresses find records without being unique."""
    async with org() as (_, client, _):
        await client.post(SET, json=body(*[contact(LastName="x", Email="a@example.com")] * 2))
        record = contact(LastName="y", Email="A@EXAMPLE.com")
        assert codes(await client.patch(f"{SET}/Contact/Email", json=body(record))) == ["DUPLICATE_EXTERNAL_ID"]


async def test_an_upsert_by_id():
    """Null creates, an id updates; with another address an id is refused."""
    async with org("Ada") as (sandbox, client, (ada,)):
        records = [contact(LastName="New", Id=None), contact(LastName="Changed", Id=ada)]
        answer = await client.patch(f"{SET}/Contact/Id", json=body(*records))
        assert [item["created"] for item in answer.json()] == [True, False]
        assert names(sandbox) == ["Changed", "New"]
        record = contact(LastName="x", External_Id__c="1", id=ada)
        assert codes(await client.patch(f"{SET}/Contact/External_Id__c", json=body(record))) == ["INVALID_FIELD"]


@pytest.mark.parametrize("short", [False, True])
async def test_ids_of_15_and_18_characters_are_one(short):
    """The answer has the long one, whatever the request had."""
    async with org("Ada") as (sandbox, client, (ada,)):
        given = ada[:15] if short else ada
        answer = await client.patch(SET, json=body(contact(id=given, LastName="Changed")))
        assert answer.json()[0]["id"] == ada
        assert (await client.delete(SET, params={"ids": given})).json()[0]["id"] == ada
        assert sandbox.records("Contact") == []


async def test_neighbours_differ_by_case_only():
    """Whoever compares ids without regard to case mixes up two records."""
    async with org(*(str(number) for number in range(62))) as (_, _, ids):
        assert len({id[:15] for id in ids}) == 62
        assert len({id[:15].lower() for id in ids}) < 62
        assert all(len(id) == 18 and id.startswith("003") for id in ids)


async def test_deleting_twice_and_all_or_none_in_the_address():
    """The flag counts in the query here, and only here."""
    async with org("Ada", "Bob") as (sandbox, client, (ada, bob)):
        ids = f"{ada},{bob},{ada}"
        answer = await client.delete(SET, params={"ids": ids, "allOrNone": "true"})
        assert codes(answer) == [ROLLED_BACK, ROLLED_BACK, "ENTITY_IS_DELETED"]
        assert len(sandbox.records("Contact")) == 2
        assert codes(await client.delete(SET, params={"ids": ids})) == [None, None, "ENTITY_IS_DELETED"]
        created = await client.post(SET, params={"allOrNone": "true"}, json=body(contact(LastName="x"), contact()))
        assert codes(created) == [None, "REQUIRED_FIELD_MISSING"]


@pytest.mark.parametrize(("runs", "status"), [(10, 200), (11, 400)])
async def test_ten_runs_of_a_type_are_the_most(runs, status):
    """Also when ids are deleted; records of one type in a row are one run."""
    async with org() as (sandbox, client, _):
        kinds = [contact(LastName="x"), contact("Account", Name="x")]
        records = [record for run in range(runs) for record in [kinds[run % 2]] * 2]
        answer = await client.post(SET, json=body(*records))
        assert answer.status_code == status
        if status == 400:
            assert "Cannot have more than 10 chunks in a single operation" in answer.json()[0]["message"]
            assert sandbox.records("Contact") == []
            return
        ids = [item["id"] for item in answer.json()]
        assert codes(await client.delete(SET, params={"ids": ",".join(ids)})) == [None] * 20


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("POST", "", {"records": []}, 400, "REQUIRED_FIELD_MISSING"),
        ("POST", "", {}, 400, "REQUIRED_FIELD_MISSING"),
        ("POST", "", [], 400, "JSON_PARSER_ERROR"),
        ("POST", "", body(*[contact(LastName="x")] * 201), 400, "EXCEEDED_ID_LIMIT"),
        ("POST", "", body({"LastName": "x"}), 400, "INVALID_INPUT"),
        ("POST", "", body(1), 400, "INVALID_INPUT"),
        ("POST", "", body(contact("Nothing")), 400, "INVALID_TYPE"),
        ("PATCH", "/Contact/Phone", body(contact(LastName="x", Phone="1")), 404, "NOT_FOUND"),
        ("PATCH", "/Contact/External_Id__c", body(contact("Account", Name="x")), 400, "INVALID_INPUT"),
        ("DELETE", "?ids=", None, 400, "REQUIRED_FIELD_MISSING"),
        ("DELETE", "?ids=abc", None, 400, "MALFORMED_ID"),
        ("DELETE", "?ids=" + ",".join(["003000000000000AAA"] * 201), None, 400, "EXCEEDED_ID_LIMIT"),
        ("DELETE", "?ids=" + "x" * 17_000, None, 414, "URI_TOO_LONG"),
        ("GET", "", None, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/Contact", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/Contact", {"ids": 1}, 400, "INVALID_INPUT"),
    ],
)
async def test_a_call_is_refused_as_a_whole(method, path, given, status, code):
    """An array of one object with errorCode, never statusCode."""
    async with org() as (sandbox, client, _):
        answer = await client.request(method, SET + path, json=given)
        assert answer.status_code == status
        assert [(each["errorCode"], "statusCode" in each) for each in answer.json()] == [(code, False)]
        assert sandbox.records("Contact") == []


@pytest.mark.parametrize(
    ("headers", "content", "version", "status", "code"),
    [
        ({"content-type": "application/json"}, "{", "v60.0", 400, "JSON_PARSER_ERROR"),
        ({"content-type": "text/plain"}, "{}", "v60.0", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"content-type": "application/json"}, "{}", "v30.0", 410, "UNSUPPORTED_API_VERSION"),
        ({"content-type": "application/json"}, "{}", "60", 404, "NOT_FOUND"),
    ],
)
async def test_what_cannot_be_read_is_refused(headers, content, version, status, code):
    """By its form, its type, or its address."""
    async with org() as (_, client, _):
        path = f"/services/data/{version}/composite/sobjects"
        answer = await client.post(path, content=content, headers=headers)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)


async def test_declared_fields_are_the_only_ones():
    """A custom type needs no declaration; a declared one knows its fields."""
    options = {"objects": {**DEFAULT_OBJECTS, "X__c": SalesforceObject(fields=("Color__c",))}}
    async with org(**options) as (sandbox, client, _):
        records = [
            contact("X__c", Color__c="red", External_Id__c="1"),
            contact("X__c", Colour__c="red"),
            contact("Y__c", Any="1", Count__c=2.5, Flag__c=True, None__c=None),
        ]
        answer = await client.post(SET, json=body(*records))
        assert codes(answer) == [None, "INVALID_FIELD", None]
        assert answer.json()[1]["errors"][0]["message"] == "No such column 'Colour__c' on sobject of type X__c"
        assert sandbox.records("Y__c")[0]["fields"] == {"Any": "1", "Count__c": 2.5, "Flag__c": True}


async def test_collections_are_read_in_order():
    """By GET and by POST; null for what is not there."""
    async with org("Ada", "Bob") as (_, client, (ada, bob)):
        ids = [bob, "003000000000000AAA", ada]
        by_get = await client.get(f"{SET}/Contact", params={"ids": ",".join(ids), "fields": "LastName"})
        by_post = await client.post(f"{SET}/Contact", json={"ids": ids, "fields": ["LastName"]})
        assert by_get.json() == by_post.json()
        found = [None if record is None else record["LastName"] for record in by_get.json()]
        assert found == ["Bob", None, "Ada"]


async def test_the_calls_of_a_day_come_to_an_end():
    """Each answer tells the usage; then 403, without a word of when."""
    async with org(calls_a_day=2) as (_, client, _):
        answers = [await client.post(SET, json=body(contact(LastName="x"))) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 403]
        usage = [answer.headers["Sforce-Limit-Info"] for answer in answers]
        assert usage == ["api-usage=1/2", "api-usage=2/2", "api-usage=2/2"]
        message = {"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}
        assert answers[2].json() == [message]
        assert "retry-after" not in answers[2].headers


async def test_rows_are_held_while_they_are_written():
    """Two batches at a time with one parent: one gets it, the other is told of the lock; afterwards it is free."""
    async with org("Ada", latency=1.0) as (sandbox, client, (ada,)):
        await client.post(SET, json=body(contact("Account", Name="x")))
        (account,) = sandbox.records("Account")
        child = body(contact(LastName="c", AccountId=account["id"][:15]), contact(LastName="d"))
        answers: Sequence[Any] = await gather(*[lambda: client.post(SET, json=child)] * 2)
        assert sorted(codes(answer)[0] or "" for answer in answers) == ["", "UNABLE_TO_LOCK_ROW"]
        assert [codes(answer)[1] for answer in answers] == [None, None]
        assert codes(await client.post(SET, json=child)) == [None, None]

        changes = [
            lambda: client.patch(SET, json=body(contact(id=ada, LastName="x"))),
            lambda: client.delete(SET, params={"ids": ada}),
            lambda: client.patch(f"{DATA}/sobjects/Contact/{ada}", json={"LastName": "y"}),
            lambda: client.post(SET, content="{", headers={"content-type": "application/json"}),
            lambda: client.post(SET, json=body(1)),
            lambda: client.post(SET, json={"records": 1}),
        ]
        first, second, third, *others = await gather(*changes)
        outcomes = [codes(first)[0] is None, codes(second)[0] is None, third.status_code == 204]
        assert sum(outcomes) == 1
        assert [other.status_code for other in others] == [400, 400, 400]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault("lock"), "UNABLE_TO_LOCK_ROW", ""),
        (Fault("lock", code="CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message="x: UNABLE_TO_LOCK_ROW"), None, "LOCK_ROW"),
        (Fault("reject", code="DUPLICATES_DETECTED", message="Use one of these?"), "DUPLICATES_DETECTED", "Use one"),
        (Fault("reject"), "FIELD_CUSTOM_VALIDATION_EXCEPTION", ""),
    ],
)
async def test_single_records_are_struck(fault, code, words):
    """In a batch one record, alone that one; with any code, so that a lock hides in another code's message."""
    async with org() as (sandbox, client, _):
        sandbox.faults.order(fault)
        items = codes(await client.post(SET, json=body(contact(LastName="x"), contact(LastName="y"))))
        assert sorted(item or "" for item in items) == ["", code or "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"]
        sandbox.faults.order(fault)
        alone = await client.post(f"{DATA}/sobjects/Contact", json={"LastName": "z"})
        assert (alone.status_code, words in alone.json()[0]["message"]) == (400, True)
        assert len(sandbox.records("Contact")) == 1


async def test_a_struck_record_takes_the_group_with_it():
    """allOrNone with a lock: nothing is written."""
    async with org() as (sandbox, client, _):
        sandbox.faults.order(Fault("lock", records=2))
        records = [contact(LastName=str(number)) for number in range(5)]
        answer = codes(await client.post(SET, json=body(*records, all_or_none=True)))
        assert sorted(str(code) for code in answer) == [ROLLED_BACK] * 3 + ["UNABLE_TO_LOCK_ROW"] * 2
        assert sandbox.records("Contact") == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT LastName FROM Contact", ["Ada", "Bob", "O'Hara"]),
        ("select LastName from Contact where LastName = 'Bob'", ["Bob"]),
        (r"SELECT LastName FROM Contact WHERE LastName = 'O\'Hara'", ["O'Hara"]),
        ("SELECT LastName FROM Contact WHERE LastName = 'Bob' AND Email = null LIMIT 5", ["Bob"]),
        ("SELECT LastName FROM Contact WHERE Email = 'x'", []),
        ("SELECT LastName FROM Contact LIMIT 1", ["Ada"]),
    ],
)
async def test_a_little_soql(query, found):
    """Equality, AND, LIMIT, null."""
    async with org("Ada", "Bob", "O'Hara") as (_, client, _):
        answer = (await client.get(f"{DATA}/query", params={"q": query})).json()
        assert [record["LastName"] for record in answer["records"]] == found
        assert (answer["totalSize"], answer["done"]) == (len(found), True)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("DELETE", "MALFORMED_QUERY"),
        ("SELECT a b FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE Id > 1", "MALFORMED_QUERY"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
    ],
)
async def test_more_soql_is_refused(query, code):
    """It is not a database of its own."""
    async with org() as (_, client, _):
        answer = await client.get(f"{DATA}/query", params={"q": query})
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "Contact/External_Id__c/none"),
        ("GET", "Contact/Phone/1"),
        ("GET", "Nothing/003000000000000AAA"),
        ("PATCH", "Contact/Phone/1"),
        ("DELETE", "Contact/abc"),
    ],
)
async def test_single_records_that_are_not_there(method, path):
    """404 for a record, an address and a type."""
    async with org() as (_, client, _):
        given = {"LastName": "x"} if method == "PATCH" else None
        answer = await client.request(method, f"{DATA}/sobjects/{path}", json=given)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
