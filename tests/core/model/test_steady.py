"""Steady names: found again whatever becomes of their hash."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import attrs
import pytest

from batcher._core.model.steady import Steady, look_up, steady
from batcher.destinations.hubspot.requests import Lane
from batcher.writes import WriteType


class Colour(Enum):
    RED = auto()


class Place(NamedTuple):
    city: str
    street: tuple[str, int]


@attrs.define(unsafe_hash=True)
class Moved:
    place: str


@pytest.mark.parametrize(
    "name",
    ["a", 1, 1.5, b"a", None, True, ("a", 1), Place("Rome", ("Via", 1)), Colour.RED, WriteType.CREATE, object()],
)
def test_what_cannot_change_stands_for_itself(name):
    """The names that people use cost nothing more."""
    assert steady(name) is name


def test_the_lane_of_a_destination_stands_for_itself():
    """It keeps the hash that it had, and is looked up for every record."""
    lane = Lane("contacts", WriteType.CREATE, None, "/crm")
    assert steady(lane) is lane


@pytest.mark.parametrize("wrap", [lambda name: name, lambda name: ("a", name), lambda name: frozenset([name])])
def test_it_is_found_where_it_was_put(wrap):
    """Also as a part of a tuple, and by itself as it was then."""
    moved = Moved("here")
    name = wrap(moved)
    known = {steady(name): "lane"}
    (kept,) = known
    assert known[name] == "lane", "as it is given by the next caller"
    moved.place = "there"
    assert known[kept] == "lane"
    del known[kept]


def test_equal_names_are_one():
    """Two objects that are equal name one thing."""
    assert {steady(Moved("here")): 1} == {steady(Moved("here")): 1}
    assert steady(Moved("here")) != steady(Moved("there"))
    assert steady(Moved("here")) == Moved("here")


def test_a_name_that_cannot_be_hashed_is_refused():
    with pytest.raises(TypeError, match="unhashable"):
        steady((1, []))


class Touchy:
    def __hash__(self) -> int:
        return hash("a")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")


def test_one_that_cannot_be_compared_is_told_and_nobody_else():
    """Not even one whose hash happens to be the same."""
    known = {steady(Touchy()): 1}
    look_up(known, "a")
    assert "a" not in known
    newcomer = steady(Touchy())
    with pytest.raises(RuntimeError, match="cannot be compared"):
        look_up(known, newcomer)
    assert isinstance(newcomer, Steady)
    assert newcomer not in known
