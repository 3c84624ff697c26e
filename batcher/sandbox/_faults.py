"""Faults to order: what goes wrong, with which requests, how often. Pure, but for seeded dice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from math import inf
from random import Random
from typing import Any

import attrs
from attrs import validators


class FaultKind(str, Enum):
    """What goes wrong."""

    DELAY = "delay"
    """The answer takes ``seconds`` longer."""
    RESET = "reset"
    """The connection is reset instead of an answer."""
    HALF = "half"
    """The request is applied, and half of the answer's body arrives."""
    THROTTLE = "throttle"
    """Too many requests, in the provider's words: HubSpot's policy is ``code``, for example ``DAILY``."""
    ERROR = "error"
    """An answer with ``status``, in the provider's shape; with ``html`` in that of a proxy."""
    EXPIRE = "expire"
    """The token has expired. One that was issued stays expired."""
    DROP = "drop"
    """``records`` of the request have no part in the answer: neither result nor error."""
    SHUFFLE = "shuffle"
    """The results come in another order, also where the provider promises one."""
    REJECT = "reject"
    """``records`` of the request are refused, with ``code`` and ``message``."""
    LOCK = "lock"
    """Salesforce: ``records`` of the request meet a locked row. HubSpot: 423 for the request."""


def _finite(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    # JSON has no infinity, but Python has.
    if not 0 <= value < inf:
        raise ValueError(f"'{attribute.name}' must be a finite number of seconds that is not negative")


def _is_count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not int:
        raise TypeError(f"'{attribute.name}' must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"'{attribute.name}' must be at least 1, not {value}")


_is_count_if_any: Any = validators.optional(_is_count)


@attrs.frozen
class Fault:
    """One order.

    :raises ValueError: a value out of range
    :raises TypeError: a value of another type
    """

    kind: FaultKind = attrs.field(converter=FaultKind)
    times: int | None = attrs.field(default=1, kw_only=True, validator=_is_count_if_any)
    """How many requests it strikes; None for as long as it stands."""
    probability: float = attrs.field(
        default=1.0, kw_only=True, validator=[validators.instance_of((int, float)), validators.ge(0), validators.le(1)]
    )
    """With which it strikes a request that matches."""
    method: str = attrs.field(default="", kw_only=True, validator=validators.instance_of(str))
    """Of the requests that match; nothing for any."""
    path: str = attrs.field(default="", kw_only=True, validator=validators.instance_of(str))
    """A part of the path of the requests that match, such as ``"/batch/create"``."""
    applied: bool = attrs.field(default=False, kw_only=True, validator=validators.instance_of(bool))
    """Delay, reset, error: whether the request is applied first. Drop: whether the dropped records are written."""
    seconds: float = attrs.field(default=1.0, kw_only=True, validator=[validators.instance_of((int, float)), _finite])
    status: int = attrs.field(
        default=503, kw_only=True, validator=[validators.instance_of(int), validators.ge(400), validators.le(599)]
    )
    retry_after: int | None = attrs.field(default=None, kw_only=True, validator=_is_count_if_any)
    """Seconds in the header Retry-After of an error."""
    html: bool = attrs.field(default=False, kw_only=True, validator=validators.instance_of(bool))
    code: str = attrs.field(default="", kw_only=True, validator=validators.instance_of(str))
    """The provider's code, category or policy; nothing for the usual one."""
    message: str = attrs.field(default="", kw_only=True, validator=validators.instance_of(str))
    records: int = attrs.field(default=1, kw_only=True, validator=_is_count)

    @classmethod
    def from_json(cls, given: object) -> Fault:
        """Return the fault that a JSON object describes, field by field.

        :raises ValueError: no fault, in words
        :raises TypeError: as in the constructor
        """
        if not isinstance(given, Mapping) or "kind" not in given:
            raise ValueError("a fault must be an object with a 'kind'")
        unknown = given.keys() - {field.name for field in attrs.fields(cls)}
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return the opposite of :meth:`from_json`."""
        return attrs.asdict(self, value_serializer=lambda _, __, value: getattr(value, "value", value))

    @property
    def name(self) -> str:
        """The kind, and whether the request was applied: what is counted."""
        return f"{self.kind.value}_applied" if self.applied else self.kind.value

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request may be struck."""
        return self.method in ("", method) and self.path in path


class Faults:
    """The orders that stand, and what came of them.

    At most one fault strikes a request: the first that matches and whose dice say so.

    :param seed: of the dice; the same requests meet the same faults
    """

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self.struck: Counter[str] = Counter()
        """Name of the fault to requests that it struck."""
        self.requests = 0
        """Requests that came, those to the sandbox itself left out."""
        self._dice = Random(seed)
        self._orders: list[tuple[Fault, int | None]] = []
        self.order(*faults)

    @property
    def standing(self) -> list[Fault]:
        """The faults that may still strike, each with the times that are left."""
        return [attrs.evolve(fault, times=left) for fault, left in self._orders]

    def order(self, *faults: Fault) -> None:
        """Add faults behind those that stand.

        :raises TypeError: something given is no fault
        """
        for fault in faults:
            if not isinstance(fault, Fault):
                raise TypeError(f"a fault must be Fault(...), such as Fault('reset'), not {type(fault).__name__}")
        self._orders += [(fault, fault.times) for fault in faults]

    def clear(self, seed: int | None = None) -> None:
        """Withdraw all that stand; what was counted stays. With *seed*, begin its dice anew."""
        self._orders.clear()
        if seed is not None:
            self._dice.seed(seed)

    def next(self, method: str, path: str) -> Fault | None:
        """Return what strikes this request, and count it."""
        self.requests += 1
        for index, (fault, left) in enumerate(self._orders):
            if not fault.matches(method, path) or self._dice.random() >= fault.probability:
                continue
            if left is not None:
                self._orders[index : index + 1] = [(fault, left - 1)] if left > 1 else []
            self.struck[fault.name] += 1
            return fault
        return None

    def shuffle(self, items: list[Any]) -> None:
        """Put items into another order."""
        self._dice.shuffle(items)

    def pick(self, fault: Fault | None, count: int, *kinds: FaultKind) -> Collection[int]:
        """Return the indexes of the records that *fault* strikes, out of *count*; none unless it is one of *kinds*."""
        if fault is None or fault.kind not in kinds:
            return frozenset()
        return frozenset(self._dice.sample(range(count), min(count, fault.records)))

    def strikes(self, fault: Fault | None, count: int, errors: Mapping[int, Exception]) -> Strikes:
        """Return what befalls *count* records, of which some are refused with *errors*."""
        dropped = self.pick(fault, count, FaultKind.DROP)
        return Strikes(errors, dropped, () if fault is None or fault.applied else dropped)


@attrs.frozen
class Strikes:
    """What befalls the records of a request, by their index."""

    errors: Mapping[int, Exception] = attrs.field(factory=dict)
    """Why a record is refused."""
    dropped: Collection[int] = ()
    """Records that have no part in the answer."""
    skipped: Collection[int] = ()
    """Those of them that are not even looked at."""

    def check(self, index: int) -> None:
        """Raise the error of a record that is to be refused."""
        if index in self.errors:
            raise self.errors[index]


def faults_of(given: Faults | Fault | Iterable[Fault] | None, seed: int) -> Faults:
    """Return the faults that the constructor of a sandbox was given: one, several, or those that somebody else holds.

    :raises TypeError: no faults
    """
    if isinstance(given, Faults):
        return given
    several = (given,) if isinstance(given, Fault) else () if given is None else given
    if isinstance(several, (str, Mapping)) or not isinstance(several, Iterable):
        kind = type(given).__name__
        raise TypeError(f"faults must be Faults(...) or a list of Fault(...), such as [Fault('reset')], not {kind}")
    return Faults(*several, seed=seed)
