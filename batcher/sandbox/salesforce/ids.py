"""Salesforce's record ids: 15 characters that differ by case, or 18 with a checksum of the cases. Pure."""

from __future__ import annotations

from typing import Final
from zlib import crc32

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHORT, _LONG = 15, 18
# The first three characters tell the type of the record, the next ones the instance.
_PREFIXES: Final = {
    "Account": "001",
    "Contact": "003",
    "Opportunity": "006",
    "Lead": "00Q",
    "Task": "00T",
    "Case": "500",
}
_INSTANCE: Final = "ak0"


def new_id(type: str, number: int) -> str:
    """Return the id, of 18 characters, of the record of a type with a number.

    Ids of neighbours may differ by the case of one letter only.
    """
    prefix = _PREFIXES.get(type) or f"a{_encode(crc32(type.encode()) % 3844, 2)}"
    short = prefix + _INSTANCE + _encode(number, _SHORT - len(prefix) - len(_INSTANCE))
    return short + checksum(short)


def checksum(short: str) -> str:
    """Return the three characters that say which of 15 characters are in upper case."""
    bits = ["A" <= character <= "Z" for character in short]
    return "".join(_CHECKS[sum(bit << place for place, bit in enumerate(bits[at : at + 5]))] for at in (0, 5, 10))


def to_long(given: object) -> str | None:
    """Return the id of 18 characters that *given* means; None if it is no id.

    Who lost the cases of an id of 18 characters gets them back from its checksum.
    """
    if not isinstance(given, str) or len(given) not in (_SHORT, _LONG) or not set(given) <= set(_DIGITS):
        return None
    short, check = given[:_SHORT], given[_SHORT:].upper()
    if not check:
        return short + checksum(short)
    if not set(check) <= set(_CHECKS):
        return None
    restored = "".join(
        character.upper() if _CHECKS.index(check[place // 5]) >> place % 5 & 1 else character.lower()
        for place, character in enumerate(short)
    )
    # A bit that stands for a digit belongs to nobody.
    return restored + check if checksum(restored) == check else None


def _encode(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
