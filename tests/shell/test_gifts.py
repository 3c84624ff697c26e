"""What users hand in, and what becomes of it meanwhile: it hurts nobody but its own record."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from batcher import AutoBatchPolicy, Batcher, Fairness, Limits, Quota
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
