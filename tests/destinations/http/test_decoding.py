"""JSON from outside: what a sender may make reading it cost."""

from __future__ import annotations

import pytest

from batcher.destinations._http import decoding
from batcher.destinations._http.decoding import NotJSON


class Name(str):
    """A name that counts how often names are compared."""

    comparisons = 0

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Name.comparisons += 1
        return str.__eq__(self, other)


def test_a_field_named_twice_is_found_without_comparing_every_name_with_every_other():
    """A body of the size that a server takes has 200,000 names; the square of that holds up everybody for minutes."""
    pairs = [(Name(number), 0) for number in range(2000)]
    with pytest.raises(NotJSON) as caught:
        decoding._to_object([*pairs, (Name(7), 1)])
    assert caught.value.fields == ("7",)
    assert Name.comparisons < 10 * len(pairs)
