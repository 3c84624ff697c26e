"""What may be there after a lost answer, and what another answer may show of it."""

import attrs
from hypothesis import strategies as st


@attrs.frozen
class Truth:
    """Of one record."""

    there: str
    """all, other, nothing"""
    shown: str
    """faithful, twice, dropped"""

    @property
    def kind(self) -> str:
        """The outcome, if it can be told."""
        return {"all": "written", "other": "unknown", "nothing": "not_written"}[self.there]


STATES = st.sampled_from(["all", "other", "nothing"]), st.sampled_from(["faithful", "twice", "dropped"])
TRUTHS = st.lists(st.builds(Truth, *STATES), min_size=1)
