"""What the demo writes, and what is measured meanwhile.

The contacts are made up, always the same ones, and some of them faulty in the usual ways.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

import attrs

from batcher.outcomes import Outcome, Rejected

Contact = dict[str, Any]

_FIRST = ("Ada", "Björn", "Chloé", "Dmitri", "Fatima", "Grace", "Håkon", "Inés", "Kofi", "Mei", "Nnamdi", "Priya")
_LAST = ("Lovelace", "Strauß", "Nguyễn", "O'Neil", "Almeida", "Okafor", "Hopper", "Singh", "García", "Tanaka")
_COMPANY = ("Initech", "Globex", "Müller & Söhne", "Hooli", "Café Zoé", "Stark Industries", "东方贸易")
_CITY = ("Zürich", "São Paulo", "Kraków", "Lagos", "Portland", "Reykjavík", "大阪", "Bengaluru")

# One in so many records is at fault. Rare enough to be realistic, and each kind shows in 10,000.
_NO_EMAIL: Final = 97
_SAME_EMAIL: Final = 131
_NOT_JSON: Final = 1_009
_GROUP_SIZE: Final = 5


@attrs.frozen
class Workload:
    """What the callers of the demo write."""

    singles: list[Contact]
    """Each written by a call of its own."""
    groups: list[list[Contact]]
    """Each written all-or-none; every other one has a member at fault."""

    @property
    def records(self) -> int:
        """All of them."""
        return len(self.singles) + sum(len(group) for group in self.groups)


def workload(records: int, groups: int) -> Workload:
    """Return *records* contacts, of which *groups* times five are all-or-none groups."""
    random = Random(1815)  # noqa: S311  # always the same, on purpose
    contacts = [_contact(random, number) for number in range(1, records + 1)]
    grouped = [contacts[start : start + _GROUP_SIZE] for start in range(0, groups * _GROUP_SIZE, _GROUP_SIZE)]
    singles = contacts[groups * _GROUP_SIZE :]
    for group in grouped[1::2]:
        group[_GROUP_SIZE // 2]["email"] = ""
    for index, contact in enumerate(singles, start=1):
        if index % _NOT_JSON == 0:
            contact["lifetime_value"] = float("nan")
        elif index % _NO_EMAIL == 0:
            contact["email"] = ""
        elif index % _SAME_EMAIL == 0:
            contact["email"] = singles[0]["email"]
    return Workload(singles, grouped)


def _contact(random: Random, number: int) -> Contact:
    first, last = random.choice(_FIRST), random.choice(_LAST)
    return {
        "email": f"contact{number}@example.com",
        "firstname": first,
        "lastname": last,
        "company": random.choice(_COMPANY),
        "city": random.choice(_CITY),
        "phone": f"+1-555-{random.randrange(10_000_000):07}",
        "lifetime_value": round(random.lognormvariate(6, 1), 2),
        "subscribed": random.random() < 0.4,
    }


@attrs.define(eq=False)
class Run:
    """What was measured while a workload was written."""

    records: int
    """Records to write."""
    calls: int = 0
    seconds: float = 0.0
    """From the first submit to the last outcome."""
    stored: int = 0
    """Records that the database holds in the end."""
    at_the_edge: int = 0
    """Records refused without any call; part of the rejected ones."""
    kinds: Counter[str] = attrs.field(factory=Counter, init=False)
    """Outcome kind to records."""
    waits: list[float] = attrs.field(factory=list, init=False)
    """Seconds that each caller waited, a group counting once per record."""
    examples: dict[str, tuple[Contact, str]] = attrs.field(factory=dict, init=False)
    """Outcome kind, or error code of a rejection, to a record and what its caller was told."""

    def wait(self, percent: float) -> float:
        """Return the wait that *percent* of the records did not exceed, in seconds (nearest rank)."""
        ranked = sorted(self.waits)
        return ranked[max(0, -int(-len(ranked) * percent // 100) - 1)]

    def settle(self, contact: Contact, outcome: Outcome, waited: float, told: object) -> None:
        """Take in the fate of one record."""
        self.kinds[outcome.kind] += 1
        self.waits.append(waited)
        name = outcome.errors[0].code or outcome.kind if isinstance(outcome, Rejected) else outcome.kind
        words = f"{type(told).__name__}: {told}" if isinstance(told, Exception) else repr(told)
        self.examples.setdefault(name, (contact, words))
