"""Salesforce: what the answer to an all-or-none group means."""

from typing import Any

import pytest

from batcher.outcomes import ErrorDetail, Refused, Retry, Written
from tests.destinations.salesforce.helpers import (
    HIDDEN,
    LOCKED,
    NO_REASON,
    ROLLED_BACK,
    TRIGGER,
    answer,
    bad,
    create,
    good,
    no,
    read,
    sf_id,
)

A, B, C = create({"LastName": "a"}), create({"LastName": "b"}), create({"LastName": "c"})
W1, W2 = Written(sf_id(1)), Written(sf_id(2))


@pytest.mark.parametrize("status", [200, 400])
def test_p05_a_group_names_its_culprits(status: int) -> None:
    """
    Members that were only rolled back are not blamed, nor those whose trouble passes, nor those without any reason.
    """
    rolled_back, culprit = ErrorDetail("r", ROLLED_BACK), ErrorDetail("m", "INVALID_FIELD", ["n"])
    two = {"success": False, "errors": bad(ROLLED_BACK, "r")["errors"] + bad("INVALID_FIELD", "m", None, "n")["errors"]}
    body = [bad(ROLLED_BACK, "r"), bad("INVALID_FIELD", "m", None, "n"), bad(LOCKED), {"success": False}, two]
    with pytest.raises(Refused) as caught:
        read(answer(status, body), [A, B, C, A, B], all_or_none=True)

    assert caught.value.named == {1: (culprit,), 4: (rolled_back, culprit)}
    assert caught.value.errors == (rolled_back, culprit, ErrorDetail("m", LOCKED))


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ([bad(ROLLED_BACK, "r"), bad(ROLLED_BACK, "r")], (ErrorDetail("r", ROLLED_BACK),)),
        ([{"success": False}, {"success": False}], (NO_REASON,)),
        ([{"success": False}, bad(ROLLED_BACK, "r")], (ErrorDetail("r", ROLLED_BACK),)),
    ],
)
def test_a_group_that_failed_without_a_culprit_blames_nobody(body: Any, errors: Any) -> None:
    """Nothing was applied, and no member is named."""
    with pytest.raises(Refused) as caught:
        read(answer(200, body), [A, B], all_or_none=True)

    assert (caught.value.errors, caught.value.named) == (errors, {})


@pytest.mark.parametrize(
    ("body", "pause"),
    [
        ([bad(ROLLED_BACK), bad(LOCKED)], False),
        ([bad(LOCKED), bad(TRIGGER, HIDDEN)], False),
        ([bad(LOCKED), bad("REQUEST_LIMIT_EXCEEDED")], True),
    ],
)
def test_a_group_whose_culprits_were_only_locked_out_is_tried_again_whole(body: Any, pause: bool) -> None:
    """Nothing of it was applied, and the trouble passes."""
    with pytest.raises(Retry) as caught:
        read(answer(200, body), [A, B], all_or_none=True)

    assert (caught.value.applied, caught.value.pause_lane) == ("no", pause)


def test_a_group_of_which_a_part_was_kept_says_so() -> None:
    """What Salesforce did counts, not what it was asked to do."""
    body = [good(1), bad(), bad(ROLLED_BACK)]
    first, second, third = read(answer(200, body), [A, B, C], all_or_none=True)

    assert (first, second) == (W1, no())
    assert (third.applied, str(third)) == ("no", ROLLED_BACK)
    assert read(answer(200, [good(1), good(2)]), [A, B], all_or_none=True) == [W1, W2]
