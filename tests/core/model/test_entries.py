"""Records with their fate, groups, and batches."""

from __future__ import annotations

from batcher._core.batches import Batch
from batcher._core.model.budgets import SearchBudget
from batcher._core.model.entries import NO_EXTRAS, NOT_ACCEPTED, Entry, Extras, Group
from batcher._core.model.sealed import Sealed
from batcher._core.model.states import State
from batcher.events import FlushReason
from batcher.outcomes import Rejected, Written
from tests.core.building import make_lane, record


def settled(verdict: object) -> Entry:
    entry = record()
    entry.state, entry.verdict = State.SETTLED, verdict
    return entry


def test_a_plain_record_shares_its_extras() -> None:
    """
    What most records do not have costs them nothing, and nobody changes what is shared.
    """
    one, other = record("ada"), record("bob")
    assert one.extras is other.extras is NO_EXTRAS

    mine = one.own_extras()
    mine.attempts = 3

    assert one.own_extras() is mine
    assert (other.extras.attempts, NO_EXTRAS.attempts) == (0, 0)


def test_fresh_extras() -> None:
    """
    A record begins without identity, delay, group, attempts or doubt.
    """
    extras = Extras()
    assert (extras.identity, extras.delay, extras.group) == (None, None, None)
    assert extras.expires_at == float("inf")
    assert (extras.sealed, extras.force, extras.attempts, extras.retries, extras.maybe) == (False, None, 0, 0, False)


def test_a_record_is_a_unit_of_one() -> None:
    """
    Admission, identities and backoff treat a record as a group of one.
    """
    entry = record("ada", identity="003", size=7)
    assert (entry.members, entry.identities, entry.size, entry.submitted) == ((entry,), ("003",), 7, "ada")
    assert record().identities == ()


def test_a_falsy_identity_is_an_identity() -> None:
    """
    Only None means unknown.
    """
    assert record(identity=0).identities == (0,)


def test_the_delay_is_the_records_own_or_the_lanes() -> None:
    """
    A batch is due when the delay of the record that opened it has passed since its acceptance.
    """
    patient, hasty = record(), record(delay=0.0)
    for entry in (patient, hasty):
        entry.lane, entry.accepted_at = make_lane(max_delay=5.0), 2.0

    assert (patient.due_at, hasty.due_at) == (7.0, 2.0)


def test_being_hastened() -> None:
    """
    A record may be made due at a time, but not before its acceptance.
    """
    entry = record()
    entry.lane, entry.accepted_at = make_lane(), 2.0

    entry.expedite(3.0)
    assert entry.due_at == 3.0
    entry.expedite(1.0)
    assert entry.due_at == 2.0


def test_the_fate_of_a_plain_value() -> None:
    """
    A plain value means written; it becomes an outcome only when somebody asks.
    """
    assert settled("001").fate() == Written(data="001")
    assert settled(None).fate() == Written()


def test_the_fate_is_an_outcome() -> None:
    """
    An explicit outcome is the fate as it is.
    """
    outcome = Rejected("taken")
    assert settled(outcome).fate() is outcome


def test_no_fate_yet() -> None:
    """
    A record that is open, or was never accepted, has no fate.
    """
    entry = record()
    entry.state = State.BUFFERED
    assert entry.fate() is None
    assert settled(NOT_ACCEPTED).fate() is None
    assert (NOT_ACCEPTED.kind, NOT_ACCEPTED.applied, NOT_ACCEPTED.ok) == ("not_accepted", "no", False)


def test_a_group_is_one_unit() -> None:
    """
    A group counts the bytes and identities of its members, and is due the moment it is accepted.
    """
    members = [record(size=3, identity="003"), record(size=4), record(identity=0)]
    group = Group(members)
    for member in members:
        member.accepted_at, member.state = 2.0, State.BUFFERED

    assert (group.size, group.identities, group.members) == (7, ("003", 0), members)
    assert (group.accepted_at, group.due_at, group.state, group.waiter) == (2.0, 2.0, State.BUFFERED, None)
    assert all(member.extras.group is group for member in members)


def test_a_budget_is_spent_whole_or_not_at_all() -> None:
    """
    The search for culprits makes no call beyond its budget.
    """
    budget = SearchBudget(3, ())
    assert budget.spend(2)
    assert not budget.spend(2)
    assert budget.spend(1)
    assert not budget.spend(1)
    assert budget.calls == 0


def test_a_batch_is_discreet() -> None:
    """
    A batch shows counts and its reason, and no record.
    """
    lane, entries = make_lane(), (record("ada@example.com", size=4), record("bob", size=3))
    batch = Batch(lane, entries, 7, FlushReason.DELAY, None)

    assert repr(batch) == "<Batch delay: 2 records, 7 bytes>"
    assert (batch.records, batch.group, batch.dispatched_at) == (["ada@example.com", "bob"], None, 0.0)


def test_the_group_of_a_batch() -> None:
    """
    A batch knows the group it carries; a half of a refused batch carries none.
    """
    group = Group([record()])
    whole = Batch(make_lane(), group.members, 0, FlushReason.GROUP, Sealed(group.members, 0.0, FlushReason.GROUP))
    half = Batch(
        make_lane(),
        group.members,
        0,
        FlushReason.ISOLATION,
        Sealed(group.members, 0.0, FlushReason.ISOLATION, SearchBudget(1, ())),
    )

    assert whole.group is group
    assert half.group is None
