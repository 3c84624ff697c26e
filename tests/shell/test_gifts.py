"""What users hand in, and what becomes of it meanwhile: it hurts nobody but its own record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    ErrorDetail,
    EventLog,
    Fairness,
    Limits,
    Quota,
    RecordRejected,
    Refused,
    Rejected,
    Retry,
    Unknown,
    Written,
)
from tests.api import Api

pytestmark = pytest.mark.anyio
LATER = AutoBatchPolicy(max_delay=5)


@attrs.define(unsafe_hash=True)
class Name:
    """It is hashed by what it says, and that may change."""

    text: str


class Broken(Name):
    """It may lose its hash altogether."""

    def __hash__(self) -> int:
        if self.text == "broken":
            raise RuntimeError("no hash any more")
        return hash(self.text)


@pytest.mark.parametrize("new", ["changed", "broken"])
@pytest.mark.parametrize("wrap", [lambda name: name, lambda name: ("contacts", name)])
async def test_an_identity_that_changes_while_it_is_pending(new, wrap):
    """Its record is written like any other, and so is who waits behind it."""
    name = Broken("ada")
    async with Batcher(Api(), auto_batch=LATER) as batcher:
        receipts = [batcher.submit_nowait(record, key=record, identity=wrap(name)) for record in ("first", "second")]
        other = batcher.submit_nowait("other", identity="ada")
        name.text = new
        assert [await receipt for receipt in (*receipts, other)] == ["first", "second", "other"]
        assert batcher.statistics().pending == 0


@pytest.mark.parametrize("new", ["changed", "broken"])
async def test_a_key_that_changes_while_it_is_pending(new):
    """Its lane is forgotten like any other, and it opens another one by its new name."""
    name = Broken("ada")
    async with Batcher(Api(), auto_batch=LATER) as batcher:
        receipts = [batcher.submit_nowait(1, key=name), batcher.submit_nowait(2, key="ada")]
        name.text = new
        assert [await receipt for receipt in receipts] == [1, 2]
        assert batcher.statistics().lanes == 0
        if new == "changed":
            assert await batcher.submit(3, key=name) == 3
        else:
            with pytest.raises(RuntimeError, match="no hash any more"):
                await batcher.submit(3, key=name)


async def test_a_member_of_a_group_whose_identity_changes():
    """The group is written, and frees its identities."""
    names = [Broken("ada"), Broken("bob")]
    async with Batcher(Api(), auto_batch=LATER) as batcher:
        blocker = batcher.submit_nowait("blocker", identity=names[0])
        follower = batcher.submit_nowait("follower", identity=names[0], key="x")
        names[0].text = "broken"
        outcomes = await batcher.submit_all(["a", "b"], identities=["c", names[1]], all_or_none=True)
        assert [outcome.kind for outcome in outcomes] == ["written", "written"]
        assert await blocker == "blocker"
        assert await follower == "follower"


@pytest.mark.parametrize("limits", [Limits(quotas=[Quota(calls=50, per=1, by=lambda key: key[1])]),
                                    Limits(fairness=Fairness(by=lambda key: key[1]))])  # fmt: skip
@pytest.mark.parametrize("new", ["changed", "broken"])
async def test_what_by_returns_may_change(limits: Limits, new: str):
    """Lanes come and go as if it had not."""
    name: Any = Broken("ada")
    async with Batcher(Api(), auto_batch=LATER, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n, key=(n, name)) for n in range(3)]
        name.text = new
        assert [await receipt for receipt in receipts] == [0, 1, 2]
        assert await batcher.submit("b", key=("b", "bob")) == "b"
        assert batcher.statistics().lanes == 0


class Forgetful(Retry):
    """Its author has not called the ``__init__`` of its base."""

    def __init__(self) -> None:
        self.seconds = 3


class ForgetfulRefusal(Refused):
    def __init__(self) -> None:
        self.seconds = 3


class ForgetfulOutcome(Rejected):
    def __init__(self) -> None: ...


class ForgetfulError(RecordRejected):
    def __init__(self) -> None: ...


class Liar:
    """It does not even say of what class it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("none of yours")


def changed(verdict: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(verdict, name, value)
    return verdict


UNREADABLE: dict[str, Callable[[], Any]] = {
    "a Retry without after": Forgetful,
    "a Refused without errors": ForgetfulRefusal,
    "a Retry that was changed": lambda: changed(Retry("later"), after=[]),
    "a Retry of no kind": lambda: changed(Retry("later"), applied="perhaps"),
    "a Retry for no reason": lambda: changed(Retry("later"), cause=5),
    "a Refused that names anything": lambda: changed(Refused("no"), named={0: 5}),
    "a Refused that names in a list": lambda: changed(Refused("no"), named=["a"]),
    "an outcome without errors": ForgetfulOutcome,
    "an error without an outcome": ForgetfulError,
    "an error with none": lambda: changed(RecordRejected(Rejected("no")), outcome=5),
}


@pytest.mark.parametrize("hook", [None, EventLog()])
@pytest.mark.parametrize("made", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_verdict_that_cannot_be_read_is_the_affair_of_its_own_record(made, hook):
    """It is unknown, in words; its batchmate is written, and so is who comes later."""

    async def write(key: Any, records: list[str]) -> list[Any]:
        return [made() if record == "bad" else record for record in records]

    async with Batcher(write, auto_batch=LATER, on_event=hook) as batcher:
        bad, good = await batcher.submit_all(["bad", "good"])
        assert good == Written(data="good")
        assert isinstance(bad, Unknown)
        assert "cannot be read" in str(bad.cause)
        assert await batcher.submit("later") == "later"


@pytest.mark.parametrize("made", [made for made in UNREADABLE.values() if isinstance(made(), (Retry, Refused))])
async def test_what_is_raised_and_cannot_be_read_makes_its_batch_unknown(made):
    """As whatever else is raised; the batcher goes on."""

    async def write(key: Any, records: list[str]) -> list[Any]:
        if "bad" in records:
            raise made()
        return records

    async with Batcher(write, auto_batch=LATER, on_event=EventLog()) as batcher:
        outcomes = await batcher.submit_all(["bad", "good"])
        assert [outcome.kind for outcome in outcomes] == ["unknown", "unknown"]
        assert await batcher.submit("later") == "later"


async def test_a_value_that_lies_about_its_class_is_a_value():
    """Nobody asks it; it is what the write function has returned."""

    async def write(key: Any, records: list[str]) -> list[Any]:
        return [Liar() if record == "bad" else record for record in records]

    async with Batcher(write, auto_batch=LATER, on_event=EventLog()) as batcher:
        bad, good = await batcher.submit_all(["bad", "good"])
        assert (bad.kind, good.kind) == ("written", "written")
        assert type(await batcher.submit("bad")) is Liar


async def test_codes_and_fields_of_any_kind_are_texts():
    """Providers have numbers for codes; a hook that sorts them, and who prints the error, must not stumble."""

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    odd: Any = [5, Unprintable()]
    error = ErrorDetail(404, code=404, fields=odd)
    assert error == ErrorDetail("404", "404", ("5", "Unprintable"))

    async def write(key: Any, records: list[str]) -> list[Any]:
        return [Rejected([ErrorDetail("x", code=code) for code in (5, "a", ["b"])]) for _ in records]

    async with Batcher(write, auto_batch=LATER, on_event=EventLog()) as batcher:
        with pytest.raises(RecordRejected, match=r"5; a; \['b'\]"):
            await batcher.submit("a")
