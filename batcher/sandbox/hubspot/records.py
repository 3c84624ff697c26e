"""HubSpot's records: what a property may hold, what is unique, and how a record is written. No HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, Final

import attrs

from batcher.sandbox._store import Row, Store
from batcher.sandbox.hubspot.answers import Invalid, bad_json, conflict, invalid, moment

_FIRST_ID: Final = 171_590_000_000
ID: Final = "hs_object_id"
# Objects have a name and a number; records are kept under the name.
_NAMES: Final = {"0-1": "contacts", "0-2": "companies", "0-3": "deals", "0-5": "tickets"}
_TYPE_IDS: Final = {name: number for number, name in _NAMES.items()}


@attrs.frozen(kw_only=True)
class HubSpotObject:
    """What the account knows of one type of objects."""

    unique: Collection[str] = ()
    """Properties whose values no two records share; they can address a record."""
    properties: Collection[str] | None = None
    """The properties that exist; None lets any name pass that HubSpot could give."""
    numbers: Collection[str] = ()
    """Properties that hold whole numbers."""


DEFAULT_OBJECTS: Final[Mapping[str, HubSpotObject]] = {"contacts": HubSpotObject(unique=("email",))}


def name_of(type: str) -> str:
    """Return the name of a type of objects that was given by name or number."""
    return _NAMES.get(type, type)


def type_id_of(type: str) -> str:
    """Return the number of a type of objects, or its name if it has none here."""
    return _TYPE_IDS.get(type, type)


@attrs.frozen
class Records:
    """Reads and writes records as HubSpot does: every value a string, e-mail addresses in lower case."""

    store: Store
    objects: Mapping[str, HubSpotObject]
    clock: Callable[[], float]

    def knows_unique(self, type: str, property: str) -> bool:
        """Return whether a property can address a record."""
        return property in self._object(type).unique

    def values(self, given: Any) -> dict[str, str]:
        """Return properties as they will be stored.

        :raises Problem: not an object of plain values
        """
        if not isinstance(given, dict):
            raise bad_json("Cannot deserialize value of type `java.util.LinkedHashMap`")
        return {name: self.value(name, value) for name, value in given.items()}

    def value(self, name: str, value: Any) -> str:
        """Return one value as it will be stored; None clears it, as an empty string does.

        :raises Problem: a list or an object
        """
        if isinstance(value, list | dict):
            raise bad_json("Cannot deserialize value of type `java.lang.String`")
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        return str(value).strip().lower() if name == "email" else str(value)

    def problems(self, type: str, values: Mapping[str, str]) -> list[Invalid]:
        """Return what is wrong with values."""
        known = self._object(type)
        found = []
        for name, value in values.items():
            if not self._exists(known, name):
                found.append(Invalid(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
            elif name == "email" and value and not _is_email(value):
                found.append(Invalid(name, "INVALID_EMAIL", f"Email address {value} is invalid"))
            elif name in known.numbers and value and not value.lstrip("-").isdecimal():
                found.append(Invalid(name, "INVALID_INTEGER", f"{value} was not a valid integer."))
        return found

    def find(self, type: str, id: str, property: str | None = None) -> Row | None:
        """Return the record with an id, or with a value of a unique property; None if there is none any more."""
        if property is not None:
            return next(iter(self.store.find(type, property, self.value(property, id))), None)
        row = self.store.get(type, id)
        return None if row is None or row.archived else row

    def create(self, type: str, values: Mapping[str, str], *, named: bool) -> Row:
        """Add a record.

        :param named: a conflict names the other record in its context
        :raises Problem: a unique value is taken
        """
        self._check_unique(type, values, None, named=named)
        number, now = self.store.next_number(), self.clock()
        id = str(_FIRST_ID + number)
        row = Row(
            type, id, self._stamped({**_without_empty(values), "createdate": moment(now), ID: id}, now), False, now, now
        )
        self.store.insert(number, row, self._keys(row))
        return row

    def update(self, row: Row, values: Mapping[str, str], *, named: bool) -> Row:
        """Change a record; empty values are taken away.

        :raises Problem: a unique value is taken
        """
        self._check_unique(row.type, values, row.id, named=named)
        now = self.clock()
        changed = attrs.evolve(row, fields=self._stamped(_without_empty({**row.fields, **values}), now), updated=now)
        self.store.save(changed, self._keys(changed))
        return changed

    def _check_unique(self, type: str, values: Mapping[str, str], own: str | None, *, named: bool) -> None:
        for property in self._object(type).unique:
            for other in self.store.find(type, property, values.get(property, "")):
                if other.id != own:
                    raise conflict(type, other, named=named)

    def _keys(self, row: Row) -> dict[str, str]:
        return {name: row.fields[name] for name in self._object(row.type).unique if name in row.fields}

    def _stamped(self, fields: dict[str, str], now: float) -> dict[str, str]:
        return {**fields, "lastmodifieddate": moment(now)}

    def _object(self, type: str) -> HubSpotObject:
        return self.objects.get(type, HubSpotObject())

    def _exists(self, known: HubSpotObject, name: str) -> bool:
        if known.properties is not None:
            return name in known.properties or name in known.unique
        # The names that HubSpot gives: lower case, digits and underscores.
        return name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()


def shuffled(dice: Random, count: int) -> list[int]:
    """Return the indexes of *count* things in a random order."""
    return dice.sample(range(count), count)


def check_all(problems: list[Invalid]) -> None:
    """Refuse a batch as a whole for any of *problems*.

    :raises Problem: there are some
    """
    if problems:
        raise invalid(problems)


def _without_empty(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _is_email(value: str) -> bool:
    local, _, domain = value.partition("@")
    return bool(local) and "." in domain.strip(".") and not set(value) & set(" ,;<>")
