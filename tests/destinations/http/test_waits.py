"""When the API wants to be asked again: on its own clock, whatever ours was set to. Pure."""

import pytest

from batcher.destinations._http.answers import Answer, wait_of
from batcher.destinations.ampersand.answers import _wait_of

NOON = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
SAID = "Fri, 15 Jan 2027 08:00:00 GMT"
A_MINUTE_LATER = "Fri, 15 Jan 2027 08:01:00 GMT"
OURS = [NOON, NOON + 86_400, NOON - 86_400]


@pytest.mark.parametrize("now", OURS)
@pytest.mark.parametrize("said", [SAID, SAID.replace("GMT", "-0000"), "Fri, 15 Jan 2027 09:00:00 +0100"])
@pytest.mark.parametrize("field", ["retry-after", "x-amp-retry-after"])
def test_a_time_to_come_back_is_as_long_after_the_answer_as_it_says(field: str, said: str, now: float) -> None:
    """Both times are of one clock; a day that ours is off makes no wait of a day, and no wait of nothing."""
    assert wait_of(Answer(429, {field: A_MINUTE_LATER, "date": said}), now, field) == 60.0


@pytest.mark.parametrize("now", OURS)
def test_so_it_is_in_a_body(now: float) -> None:
    """Ampersand's retryAfter."""
    assert _wait_of(Answer(503, {"date": SAID}), {"retryAfter": "2027-01-15T08:01:00Z"}, now) == 60.0


@pytest.mark.parametrize("said", ["", "soon", "Fri, 99 Foo 2027 08:00:00 GMT"])
def test_an_answer_without_a_time_of_its_own_is_compared_to_our_clock(said: str) -> None:
    """There is nothing better."""
    assert wait_of(Answer(429, {"retry-after": A_MINUTE_LATER, "date": said}), NOON + 10) == 50.0


@pytest.mark.parametrize("now", OURS)
def test_seconds_are_seconds(now: float) -> None:
    """Whatever the clocks say; and nothing is nothing."""
    assert wait_of(Answer(429, {"retry-after": "5", "date": SAID}), now) == 5.0
    assert wait_of(Answer(429, {"date": SAID}), now) is None
