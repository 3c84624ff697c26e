"""Who waits for whom."""

from __future__ import annotations

from batcher._core.identities import Identities
from batcher._core.model.entries import Entry, Group
from tests.core.building import record


def write(name: str) -> Entry:
    return record(identity=name)


def test_the_first_one_heads_its_queue() -> None:
    """
    A write of an identity that nobody touches may go; the next one waits for it.
    """
    identities, first, second = Identities(), write("ada"), write("ada")

    assert identities.join(first)
    assert not identities.join(second)
    assert identities.heads(first)
    assert not identities.heads(second)
    assert len(identities) == 1


def test_identities_do_not_wait_for_each_other() -> None:
    """
    Different identities have different queues.
    """
    identities = Identities()
    assert identities.join(write("ada"))
    assert identities.join(write("bob"))
    assert len(identities) == 2


def test_leaving_frees_the_next_one() -> None:
    """
    The queue moves up by one, and is gone when the last one leaves.
    """
    identities, writes = Identities(), [write("ada") for _ in range(3)]
    for each in writes:
        identities.join(each)

    assert identities.leave(writes[0]) == [writes[1]]
    assert identities.leave(writes[1]) == [writes[2]]
    assert identities.leave(writes[2]) == []
    assert len(identities) == 0


def test_leaving_from_the_middle_frees_nobody() -> None:
    """
    A withdrawn write that waited changes nothing for those around it.
    """
    identities, writes = Identities(), [write("ada") for _ in range(3)]
    for each in writes:
        identities.join(each)

    assert identities.leave(writes[1]) == []
    assert identities.leave(writes[0]) == [writes[2]]


def test_a_group_must_head_every_queue() -> None:
    """
    A group goes when it heads the queues of all its identities, and not at the first one.
    """
    identities, ada, bob = Identities(), write("ada"), write("bob")
    group = Group([write("ada"), record(), write("bob")])
    identities.join(ada)
    identities.join(bob)

    assert not identities.join(group)
    assert identities.leave(ada) == []
    assert not identities.heads(group)
    assert identities.leave(bob) == [group]
    assert identities.heads(group)


def test_a_group_joins_behind_one_queue_only() -> None:
    """
    One queue that is taken is enough to wait, whichever of them it is.
    """
    for taken in ("ada", "bob"):
        identities = Identities()
        identities.join(write(taken))
        assert not identities.join(Group([write("ada"), write("bob")]))


def test_a_group_frees_all_that_waited_for_it() -> None:
    """
    Those behind a group go when it leaves, each once, in the order of its members.
    """
    identities = Identities()
    group, both = Group([write("ada"), write("bob"), write("eve")]), Group([write("bob"), write("ada")])
    alone = write("eve")
    for unit in (group, both, alone):
        identities.join(unit)

    assert identities.leave(group) == [both, alone]


def test_a_group_that_gives_up_frees_only_those_who_then_head() -> None:
    """
    A group withdrawn while it waits frees whoever waited for nobody else.
    """
    identities, ada, later_ada, later_bob = Identities(), write("ada"), write("ada"), write("bob")
    group = Group([write("ada"), write("bob")])
    for unit in (ada, group, later_ada, later_bob):
        identities.join(unit)

    assert identities.leave(group) == [later_bob]
    assert identities.leave(ada) == [later_ada]


def test_those_ahead_are_named_nearest_first() -> None:
    """
    For each queue that a newcomer joined: who stands before it.
    """
    identities, first, second, bob = Identities(), write("ada"), write("ada"), write("bob")
    newcomer = Group([write("ada"), write("bob"), write("eve")])
    for unit in (first, second, bob, newcomer):
        identities.join(unit)

    assert [list(ahead) for ahead in identities.ahead_of(newcomer)] == [[second, first], [bob], []]


def test_every_unit_is_listed_once_per_queue() -> None:
    """
    Nobody who waits is overlooked.
    """
    identities, ada = Identities(), write("ada")
    group = Group([write("ada"), write("bob")])
    identities.join(ada)
    identities.join(group)

    assert list(identities.units()) == [ada, group, group]
