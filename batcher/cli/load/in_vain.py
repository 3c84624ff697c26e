"""Lines that were sent and not written, for no fault of their own; and after how many of them to stop."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from batcher.outcomes import NotWritten, Rejected, Unknown

# Codes of refusals that looked at no record: the key, the quota or the address is wrong. By status; in HubSpot's words;
# in Salesforce's; of whoever gives out tokens (RFC 6749, section 5.2, and what both add to it).
_OF_THE_CALL: Final = re.compile(
    r"HTTP[ _](30\d|40[1-5]|410)"
    r"|(INVALID|EXPIRED)_AUTHENTICATION|MISSING_SCOPES"
    r"|INVALID_SESSION_ID|API_DISABLED_FOR_ORG|API_CURRENTLY_DISABLED|UNSUPPORTED_API_VERSION|REQUEST_LIMIT_EXCEEDED"
    r"|NO_ACCESS_TOKEN|BAD_(AUTH|CLIENT|GRANT|REFRESH)_[A-Z]+"
    r"|invalid_(client|client_id|grant|request|scope)|unauthorized_client|unsupported_grant_type|inactive_(org|user)"
)
# Of a call with one record these may as well mean that the record is not there.
_OF_THE_RECORD: Final = re.compile(r"HTTP[ _](404|410)")
# Full calls in a row that wrote nothing, after which the destination is taken to be down. Four may be out at a time, so
# the fifth began after another one had failed. What can be tried again has been, for a minute. Where calls are small, a
# few of them say little: no fewer lines than these.
_CALLS_IN_VAIN: Final = 5
_LINES_IN_VAIN: Final = 100


def is_in_vain(entry: Mapping[str, Any], *, one_by_one: bool = False) -> bool:
    """Return whether a line was sent and not written, for no fault of its own.

    :param one_by_one: its call carried no other line
    """
    if entry["outcome"] == Rejected.kind:
        codes = [error["code"] or "" for error in entry["errors"]]
        if one_by_one and any(map(_OF_THE_RECORD.fullmatch, codes)):
            return False
        return all(map(_OF_THE_CALL.fullmatch, codes))
    return entry["outcome"] in (NotWritten.kind, Unknown.kind)


@attrs.define(eq=False)
class Patience:
    """How long nothing was looked at. By lines and not by calls: one that is tried again travels in several."""

    looked_at: bool = False
    """Whether any line was written, or refused for its own fault."""
    _in_vain: int = 0
    _enough: int = _LINES_IN_VAIN

    def look(self, settled: Iterable[Mapping[str, Any]], largest_call: int) -> None:
        """Take in lines that were sent and have just met their fate.

        :param largest_call: how many lines a call has carried so far
        """
        self._enough = max(_LINES_IN_VAIN, _CALLS_IN_VAIN * largest_call)
        for entry in settled:
            in_vain = is_in_vain(entry, one_by_one=largest_call == 1)
            self._in_vain = self._in_vain + 1 if in_vain else 0
            self.looked_at = self.looked_at or not in_vain

    @property
    def is_over(self) -> bool:
        """Whether no line was looked at for a while."""
        return self._in_vain >= self._enough
