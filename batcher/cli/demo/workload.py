"""Made-up contacts for the demo: always the same ones, and some of them faulty in the usual ways."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import attrs

Contact = dict[str, Any]

_FIRST: Final = (
    "Ada",
    "Björn",
    "Chloé",
    "Dmitri",
    "Fatima",
    "Grace",
    "Håkon",
    "Inés",
    "Kofi",
    "Mei",
    "Nnamdi",
    "Priya",
)
_LAST: Final = ("Lovelace", "Strauß", "Nguyễn", "O'Neil", "Almeida", "Okafor", "Hopper", "Singh", "García", "Tanaka")
_COMPANY: Final = ("Initech", "Globex", "Müller & Söhne", "Hooli", "Café Zoé", "Stark Industries", "东方贸易")
_CITY: Final = ("Zürich", "São Paulo", "Kraków", "Lagos", "Portland", "Reykjavík", "大阪", "Bengaluru")

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
