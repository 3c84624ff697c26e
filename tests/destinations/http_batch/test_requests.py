"""HttpBatch: what is refused at the door, what lanes and identities are, and what is sent."""

import json
from typing import Any

import attrs
import pytest

from batcher.destinations.http_batch import HttpBatch, Item, Request
from batcher.destinations.http_batch.requests import Lane, sent_as
from batcher.errors import InvalidRecord
from batcher.policies import LaneRules
from batcher.writes import Association, Write, WriteType
from tests.destinations.http_batch.helpers import KEY, call_of, http_batch

BASE = "https://api.example.com"


def sent(request: Any, max_bytes: int = 1000, **options: Any) -> Any:
    return sent_as(request, BASE, call_of(1, 2, **options), max_bytes)


def post(**options: Any) -> Request:
    return Request("POST", "/batch", **options)


@pytest.mark.parametrize(
    ("options", "body", "kind"),
    [
        (
            {"json": {"records": [Item(b'{"n":1}'), {"f": Item(b'{"n":2}')}]}},
            b'{"records":[{"n":1},{"f":{"n":2}}]}',
            "json",
        ),
        ({"json": [Item(b"{}"), (1, 2.5, None, True, "\u00e9")]}, '[{},[1,2.5,null,true,"\u00e9"]]'.encode(), "json"),
        ({"json": {}}, b"{}", "json"),
        ({"json": "a"}, b'"a"', "json"),
        ({"lines": [{"index": {}}, Item(b'{"n":1}')]}, b'{"index":{}}\n{"n":1}\n', "x-ndjson"),
        ({"lines": []}, b"", "x-ndjson"),
        (
            {"form": {"Action": "Send Batch", "a&b": "\u00e9="}},
            b"Action=Send+Batch&a%26b=%C3%A9%3D",
            "x-www-form-urlencoded",
        ),
        ({"body": b"\x00"}, b"\x00", "octet-stream"),
    ],
)
def test_bodies_of_each_kind(options: Any, body: bytes, kind: str) -> None:
    """JSON with the records as they were encoded at the door, NDJSON, forms and plain bytes, each with its type."""
    assert sent(post(**options)) == ("POST", f"{BASE}/batch", body, {"content-type": f"application/{kind}"})


def test_a_request_without_a_body() -> None:
    """Has no type of content either."""
    assert sent(Request("DELETE", "/contacts?ids=1,2")) == ("DELETE", f"{BASE}/contacts?ids=1,2", None, {})


def test_header_fields_and_who_wins() -> None:
    """Those of the request over those of the writes, and over the type of content."""
    request = post(json=[], headers={"Content-Type": "application/x-amz-json-1.0", "X-A": "request"})
    *_, headers = sent(request, headers={"x-a": "write", "x-b": "write"})

    assert headers == {"content-type": "application/x-amz-json-1.0", "x-a": "request", "x-b": "write"}


@pytest.mark.parametrize(
    "path",
    ["https://api.example.com/jobs/1?x=1", "HTTPS://API.example.com/jobs/1"],
)
def test_a_whole_url_of_the_same_server(path: str) -> None:
    """As APIs give it for the jobs they start."""
    assert sent(Request("GET", path))[1] == path


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (None, TypeError),
        ({"json": []}, TypeError),
        (Request("GET", "https://evil.example.com/jobs/1"), ValueError),
        (Request("GET", "http://api.example.com/jobs/1"), ValueError),
        (Request("GET", "https://api.example.com:8443/"), ValueError),
        (Request("GET", "https://api.example.com@evil.example.com/"), ValueError),
        (Request("GET", ".evil.example.com/"), ValueError),
        (Request("GET", ""), ValueError),
        (Request("GET", "/a\nb"), ValueError),
        (Request("GET", "/\ud800"), ValueError),
        (post(json=float("nan")), ValueError),
        (post(json={"a": object()}), ValueError),
        (post(json={1: 2}), TypeError),
        (post(json=["\ud800"]), ValueError),
        (post(body=b"x" * 1001), InvalidRecord),
        (post(json=[], headers={"a b": "c"}), ValueError),
        (post(json=[], headers={"a": "c\r\nd: e"}), ValueError),
    ],
)
def test_requests_that_cannot_be_sent(request_: Any, error: Any) -> None:
    """Credentials go to no other server, and nothing but JSON goes as JSON. No message shows a value."""
    with pytest.raises(error) as caught:
        sent(request_)
    assert "evil" not in str(caught.value)


def test_a_body_may_be_as_long_as_it_is_allowed_to_be() -> None:
    """To the byte."""
    assert sent(post(body=b"x" * 1000))[2] == b"x" * 1000


def test_a_request_has_one_body() -> None:
    """Which of two is meant, nobody knows."""
    with pytest.raises(ValueError, match="one body"):
        post(json=[], form={})


def test_what_is_no_request_is_noticed_where_it_is_made() -> None:
    """A text has no bytes, and a method is a word."""
    with pytest.raises(TypeError, match="bytes, not str"):
        Request("POST", "/", body="text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method"):
        Request("GET /x", "/")


def test_p13_requests_calls_and_items_show_no_payload() -> None:
    """In no repr, however it comes into a log."""
    call = call_of({"email": "ada@x"}, headers={"x": "ada@x"})
    request = post(json={"email": "ada@x"}, headers={"x": "ada@x"})
    for thing in (call, call.items[0], request, Request("GET", "/ada@x"), post(form={"a": "ada@x"})):
        assert "ada" not in repr(thing)


def test_p12_an_item_gives_a_fresh_copy_each_time() -> None:
    """A function that changes the record it is given changes nothing for a retry."""
    item = Item(b'{"id":"7","n":1}')
    item.record.pop("id")

    assert item.record == {"id": "7", "n": 1}


# At the door


def test_p12_a_write_is_encoded_when_it_is_submitted() -> None:
    """Once, and the size is that of its JSON, a separator, and what the request adds."""
    record = {"n": [1]}
    prepared = http_batch(overhead=20).encode(Write("contacts", "create", record))
    record["n"].append(2)

    assert prepared.item == Item(b'{"n":[1]}')
    assert prepared.size_bytes == len(b'{"n":[1]}') + 1 + 20
    assert prepared.identity is None


def test_a_lane_is_what_a_call_has_in_common() -> None:
    """Object, type, the field of an upsert, header fields in any case and order."""
    door = http_batch()
    one = {"email": "a"}
    writes = [
        Write("contacts", "create", one),
        Write("deals", "create", one),
        Write("contacts", "upsert", one, by="email"),
        Write("contacts", "create", one, headers={"X-A": "1", "x-b": "2"}),
        Write("contacts", "create", one, headers={"X-A": "1"}),
    ]
    lanes = [door.encode(write).lane for write in writes]

    assert len(set(lanes)) == 5
    assert door.encode(Write("contacts", "create", one, headers={"x-B": "2", "x-a": "1"})).lane == lanes[3]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (Write("contacts", "delete", {"id": "1"}), "takes no delete: name it in types="),
        (Write("contacts", "create", {"n": 1}, associations=[Association("1", 1)]), "takes no associations"),
        (Write("contacts", "create", {"n": object()}), "JSON does not know"),
        (Write("contacts", "create", {"n": 1}, headers={"Authorization": "x"}), "'authorization' is not for writes"),
        (Write("contacts", "create", {"n": 1}, headers={"Host": "x"}), "'host' is not for writes"),
        (Write("contacts", "create", {"n": 1}, headers={"Content-Length": "0"}), "'content-length' is not for writes"),
        (Write("contacts", "create", {"n": 1}, headers={"Transfer-Encoding": "x"}), "is not for writes"),
        (Write("contacts", "create", {"n": 1}, headers={"Accept-Encoding": "gzip"}), "is not for writes"),
        (Write("contacts", "create", {"n": 1}, headers={"a b": "x"}), "name of a header"),
        *(
            (Write(name, "create", {"n": 1}), "fit for a path")
            for name in ("a/b", "..", ".", "a?b", "a#b", "a%2fb", "a\\b", "a;b", "a\nb", "\ud800")
        ),
    ],
)
def test_what_is_refused_at_the_door(write: Write, words: str) -> None:
    """Types that the functions do not know, paths and header fields that would lead elsewhere."""
    with pytest.raises(InvalidRecord) as caught:
        http_batch(types="create", headers={"Authorization": KEY}).encode(write)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["contacts", "My Table", "tbl_1.x", "\u00c4pfel", "a-b~c"])
def test_objects_of_any_ordinary_name(name: str) -> None:
    """Also with spaces, which the client encodes."""
    assert http_batch().encode(Write(name, "create", {"n": 1})).lane


def test_only_creates_are_taken_by_default() -> None:
    """A function that does not look at the type would send a delete as a create."""
    door = HttpBatch(BASE, request=lambda call: post(), read=lambda reply, call: [])

    assert door.encode(Write("a", "create", {"n": 1}))
    for kind in ("update", "upsert", "delete"):
        with pytest.raises(InvalidRecord, match=f"takes no {kind}"):
            door.encode(Write("a", kind, {"id": "1"}, by="id"))


def identity(write: Write, **options: Any) -> Any:
    return http_batch(**options).encode(write).identity


def test_p06_identities_by_default() -> None:
    """The id of an update or a delete, the value that an upsert matches on; nothing for a create."""
    update = identity(Write("a", "update", {"id": "1", "n": 1}))

    assert update is not None
    assert update == identity(Write("a", "delete", {"id": "1"}))
    assert update != identity(Write("b", "delete", {"id": "1"}))
    assert update != identity(Write("a", "delete", {"id": "2"}))
    assert identity(Write("a", "create", {"n": 1})) is None
    upsert = identity(Write("a", "upsert", {"e": "1"}, by="e"))
    assert upsert == identity(Write("a", "upsert", {"e": "1", "n": 2}, by="e"))
    assert upsert != identity(Write("a", "upsert", {"e": 1}, by="e"))
    assert upsert != identity(Write("a", "upsert", {"f": "1"}, by="f"))
    assert identity(Write("a", "upsert", {"e": 1}, by="e")) != identity(Write("a", "upsert", {"e": True}, by="e"))
    assert identity(Write("a", "upsert", {"e": [1]}, by="e")) == identity(Write("a", "upsert", {"e": (1,)}, by="e"))


def test_p06_an_identity_of_ones_own() -> None:
    """Any hashable value, or None; it belongs to the object."""
    own: dict[str, Any] = {"identity": lambda write: write.record.get("sku")}
    first = identity(Write("a", "create", {"sku": "x"}), **own)

    assert first == identity(Write("a", "update", {"id": "1", "sku": "x"}), **own)
    assert first != identity(Write("b", "create", {"sku": "x"}), **own)
    assert identity(Write("a", "create", {"n": 1}), **own) is None


@pytest.mark.parametrize("record", [{"sku": "x"}, {"sku": "x", "tags": ("a", WriteType.CREATE)}])
def test_identity_sees_a_copy_in_plain_types(record: dict[str, Any]) -> None:
    """What is sent, as JSON holds it; nothing done to it reaches the caller's record, or the body."""
    before, seen = dict(record), []

    def clears(write: Write) -> str:
        seen.append(repr(write.record))
        sku: str = write.record.pop("sku")  # type: ignore[attr-defined]
        return sku

    prepared = http_batch(identity=clears).encode(Write("a", "create", record))

    assert record == before
    assert json.loads(prepared.item.json) == json.loads(json.dumps(before))
    assert seen == [repr(json.loads(json.dumps(before)))]


@pytest.mark.parametrize("function", [lambda write: write.record["absent"], lambda write: [1]])
def test_an_identity_that_cannot_be_told(function: Any) -> None:
    """Fails the submit of its own record, whatever the function does."""
    with pytest.raises(InvalidRecord, match="which record this is"):
        identity(Write("a", "create", {"n": 1}), identity=function)


def test_rules_are_those_given() -> None:
    """All lanes are alike, but for what may be sent again without harm: nothing, unless it is said."""
    rules = LaneRules(max_records=100, max_bytes=1_000_000, all_or_none=False)
    for kind in WriteType:
        assert http_batch().rules(Lane("a", kind)) == rules
    own = http_batch(max_records=10, max_bytes=500, all_or_none=True, max_in_flight=2, idempotent=("update", "delete"))
    rules = LaneRules(max_records=10, max_bytes=500, all_or_none=True, max_in_flight=2)
    assert own.rules(Lane("a", WriteType.CREATE)) == rules
    assert own.rules(Lane("a", WriteType.UPDATE)) == attrs.evolve(rules, idempotent=True)
    assert http_batch(idempotent="upsert").rules(Lane("a", WriteType.UPSERT)).idempotent


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"url": "api.example.com"}, ValueError, "base_url"),
        ({"request": None}, TypeError, "request must be a function"),
        ({"read": None}, TypeError, "read must be a function"),
        ({"identity": "id"}, TypeError, "identity must be a function"),
        ({"poll": "/jobs"}, TypeError, "poll must be a function"),
        ({"types": ["merge"]}, ValueError, "merge"),
        ({"max_records": 0}, ValueError, "max_records"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight"),
        ({"idempotent": ["merge"]}, ValueError, "merge"),
        ({"overhead": -1}, ValueError, "overhead"),
        ({"overhead": "1"}, TypeError, "overhead"),
        ({"poll_interval": float("inf")}, ValueError, "poll_interval must be finite"),
        ({"poll_timeout": float("inf")}, ValueError, "poll_timeout must be finite"),
        ({"poll_interval": -1}, ValueError, "poll_interval"),
        ({"timeout": 0}, ValueError, "timeout"),
        ({"max_answer_bytes": 0}, ValueError, "max_answer_bytes"),
        ({"headers": {"authorization": "Bearer \n"}}, ValueError, "authorization"),
        ({"client": 3}, TypeError, "client"),
    ],
)
def test_arguments_are_checked_where_they_are_given(options: Any, error: Any, words: str) -> None:
    """Not at the first call; the message names the argument."""
    with pytest.raises(error, match=words):
        http_batch(**options)


def test_p13_a_destination_shows_no_secret() -> None:
    """Neither in its repr nor in those of its parts."""
    door = http_batch(headers={"authorization": f"Bearer {KEY}"})

    assert repr(door) == f"HttpBatch({BASE!r})"
    assert KEY not in json.dumps({name: repr(value) for name, value in vars(door).items()})
    assert KEY not in repr(vars(door._sender))


def test_types_may_be_given_as_words_or_as_one() -> None:
    """And as members of the enum."""
    for types in ("update", ["update"], WriteType.UPDATE, {WriteType.UPDATE}):
        assert http_batch(types=types).encode(Write("a", "update", {"id": "1", "n": 1})).identity
