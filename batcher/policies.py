"""Policies: how long to wait, how often to try, how much to hold. Frozen, validated, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import timedelta
from math import inf, isnan
from typing import Any, Literal, cast

import attrs
from attrs.validators import optional

Seconds = float | timedelta

# A batch that need not wait for a quota waits this long for company: below what a person notices.
_GATHER = 0.02


def to_seconds(name: str, value: object) -> float:
    """Return a duration in seconds.

    :raises TypeError: neither a number nor a timedelta
    :raises ValueError: negative or NaN
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds or a timedelta, not {type(value).__name__}")
    if isnan(value) or value < 0:
        raise ValueError(f"{name} must be at least 0 seconds, not {value}")
    return float(value)


# Converters are functions of their own, so that type checkers see that a timedelta will do.


def _seconds(value: Seconds) -> float:
    try:
        return to_seconds("", value)
    except (TypeError, ValueError):
        return cast(float, value)  # refused by the validator, which knows the name of the argument


def _seconds_or_none(value: Seconds | None) -> float | None:
    return None if value is None else _seconds(value)


def _duration(_: object, field: attrs.Attribute[float], value: object) -> None:
    to_seconds(field.name, value)


def _this_or_none(kind: type) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{field.name} must be {kind.__name__}(...) or None, not {type(value).__name__}")

    return validate


def _count(default: float | None, *, endless: bool = False) -> Any:
    return attrs.field(default=default, validator=_at_least_one(default, endless))


def _at_least_one(default: float | None, endless: bool) -> Callable[[object, attrs.Attribute[float], Any], None]:
    def validate(_: object, field: attrs.Attribute[float], value: Any) -> None:
        if value is default or (endless and value == inf):
            return
        if isinstance(value, bool) or not isinstance(value, int):
            allowed = "a whole number or math.inf" if endless else "a whole number"
            raise TypeError(f"{field.name} must be {allowed}, not {value!r}")
        if value < 1:
            raise ValueError(f"{field.name} must be at least 1, not {value}")

    return validate


def _function_of_a_key(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{field.name} must be a function of the key of a lane, or None, not {type(value).__name__}")


def _name_of(by: Callable[[Any], Hashable] | None, key: Hashable, policy: str, alone: Hashable) -> Hashable:
    """Return what *by* makes of *key*, and *alone* without it.

    :raises TypeError: it cannot be hashed
    :raises Exception: whatever *by* raises, with a note that says where; not with the key, which may say too much
    """
    if by is None:
        return alone
    try:
        name = by(key)
        hash(name)
    except Exception as error:
        error.add_note(
            f"raised by by= of {policy}(by=...), called with the key of a lane, of type {type(key).__name__}"
        )
        raise
    return name


def _not_negative(_: object, field: attrs.Attribute[float], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{field.name} must be a number, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{field.name} must be at least 0, not {value}")


@attrs.frozen(kw_only=True)
class AutoBatchPolicy:
    """When a batch is due. A destination may cap these figures further.

    :param max_records: a batch of this many records leaves inside the submit that filled it
    :param max_bytes: a batch never holds more bytes than this, counted as they are encoded. Unused without sizes
    :param max_delay: seconds from the first record of a batch to its departure; 0 leaves at the next turn of the
        loop
    :param gather: seconds from the first record of a batch to its departure where a quota has room for its call;
        while it has none, the batch fills. None is ``max_delay``: the right choice where calls have a price, and
        company is worth the wait
    """

    max_records: int = _count(100)
    max_bytes: int = _count(1_000_000)
    max_delay: float = attrs.field(default=0.05, converter=_seconds, validator=_duration)
    gather: float | None = attrs.field(default=None, converter=_seconds_or_none, validator=optional(_duration))

    @gather.validator
    def _check_gather(self, _: object, value: float | None) -> None:
        if value is not None and value > self.max_delay:
            raise ValueError(
                f"gather must be at most max_delay, {self.max_delay:g} s, not {value:g}: it is a part of it"
            )

    @classmethod
    def for_quota(cls, calls: int, per: Seconds, *, unused: Literal["free", "priced"]) -> AutoBatchPolicy:
        """Return the policy for a quota of *calls* in any *per* seconds.

        With calls that arrive evenly, a batch that waits for ``per / calls`` never meets a used-up quota. That is the
        delay where each call has a price, ``unused="priced"``. Where the unused part of a quota is lost anyway,
        ``unused="free"``, nobody waits for so long: a batch gathers for 20 ms, and longer only while the quota is used
        up.

        :raises ValueError: an argument out of range
        """
        if unused not in ("free", "priced"):
            raise ValueError(f"unused must be 'free' or 'priced', not {unused!r}")
        quota = Quota(calls=calls, per=per)
        max_delay = quota.per / quota.calls
        return cls(max_delay=max_delay, gather=min(_GATHER, max_delay) if unused == "free" else None)

    @property
    def window(self) -> float:
        """Seconds for which a batch waits for company."""
        return self.max_delay if self.gather is None else self.gather


@attrs.frozen(kw_only=True)
class Quota:
    """What a provider allows in any window of time: calls, records, or both.

    :param per: length of the window in seconds
    :param calls: calls that may begin within any such window, retries and the search for culprits included
    :param records: records that these may carry together
    :param by: called with the key of a lane: lanes with equal results share the quota. None shares it among all
        lanes
    """

    per: float = attrs.field(converter=_seconds, validator=_duration)
    calls: float = _count(inf, endless=True)
    records: float = _count(inf, endless=True)
    by: Callable[[Any], Hashable] | None = attrs.field(default=None, validator=_function_of_a_key)

    def name_of(self, key: Hashable) -> Hashable:
        """Return what lanes that share this quota have in common with the lane of *key*; raises what ``by`` raises."""
        return _name_of(self.by, key, "Quota", None)

    @per.validator
    def _check_per(self, _: object, value: float) -> None:
        if not 0 < value < inf:
            raise ValueError(f"per must be more than 0 seconds and finite, not {value}")

    def __attrs_post_init__(self) -> None:
        if self.calls == inf and self.records == inf:
            raise ValueError("a quota needs calls or records, the figure that it limits")


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """When callers are told at once that their records are not written, instead of waiting for calls that fail.

    A call has failed if no record of it was looked at: no connection, a server error, a throttle, a lost answer,
    refused credentials. There is a breaker for each lane and one for the destination, which opens when nothing but
    failures has been seen in several lanes.

    :param failures: calls that have failed in a row, at least, before a breaker opens
    :param patience: seconds for which nothing but failures was seen, at least. None is the ``deadline`` of the
        :class:`RetryPolicy`: a breaker opens when the first records have been given up, so that later ones need not
        wait as long in vain. It does not hold where another try would end the same way, as with refused credentials
    :param cooldown: seconds for which an open breaker sends nothing. Then one record is sent, and what comes of it
        decides
    :param cooldown_cap: the cooldown is doubled each time that record fares no better, up to this
    """

    failures: int = _count(5)
    patience: float | None = attrs.field(default=None, converter=_seconds_or_none, validator=optional(_duration))
    cooldown: float = attrs.field(default=5.0, converter=_seconds, validator=_duration)
    cooldown_cap: float = attrs.field(default=60.0, converter=_seconds, validator=_duration)

    @cooldown_cap.validator
    def _check_cooldown_cap(self, _: object, value: float) -> None:
        if value < self.cooldown:
            raise ValueError(f"cooldown_cap must be at least cooldown, {self.cooldown:g} s, not {value:g}")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """What happens to records that the destination asks to send again.

    The delay before retry n, from 0, is drawn evenly from 0 to ``min(backoff_cap, backoff_base * 2**n)``: the
    *full jitter* of Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    :param deadline: seconds after acceptance past which no retry starts. It bounds retries, not the first attempt
    :param max_attempts: calls that may carry one record; ``math.inf`` leaves it to the deadline
    :param backoff_base: upper end of the first backoff, in seconds
    :param backoff_cap: upper end of every backoff, in seconds. 20 as in the standard mode of the AWS SDKs
    :param on_unknown: a record that may have been applied: tell the caller, send it again and risk a duplicate, or
        ask the destination whether it is there and send it again only if not. Where a destination cannot tell,
        "verify" is "raise". Where a destination knows that a second time does no harm, as with updates, upserts and
        deletes, it is sent again
    :param isolation_calls: extra calls one refused batch may cost while the culprits are looked for. One culprit
        among 100 costs 10 calls on average and at most 13, five cost about 37, ten about 62
    :param budget: calls made only to try again, for each other call of the last ten seconds, in all lanes together.
        Who finds the budget used up waits, within ``deadline``. This and the next figure are those of Finagle's
        ``RetryBudget``
    :param budget_floor: such calls a second that are allowed on top, one by one; a second's worth is kept
    :param breaker: when to stop trying. None never does
    """

    deadline: float = attrs.field(default=60.0, converter=_seconds, validator=_duration)
    max_attempts: float = _count(inf, endless=True)
    backoff_base: float = attrs.field(default=0.5, converter=_seconds, validator=_duration)
    backoff_cap: float = attrs.field(default=20.0, converter=_seconds, validator=_duration)
    on_unknown: Literal["raise", "retry", "verify"] = attrs.field(default="raise")
    isolation_calls: int = _count(50)
    budget: float = attrs.field(default=0.2, validator=_not_negative)
    budget_floor: float = attrs.field(default=10.0, validator=_not_negative)
    breaker: BreakerPolicy | None = attrs.field(factory=BreakerPolicy, validator=_this_or_none(BreakerPolicy))

    def sends_again(self, *, idempotent: bool) -> bool:
        """Return whether a record that may have been applied is sent again."""
        return idempotent or self.on_unknown == "retry"

    @property
    def patience(self) -> float:
        """Seconds without success before a breaker opens."""
        return self.deadline if self.breaker is None or self.breaker.patience is None else self.breaker.patience

    @on_unknown.validator
    def _check_on_unknown(self, _: object, value: str) -> None:
        if value not in ("raise", "retry", "verify"):
            raise ValueError(f"on_unknown must be 'raise', 'retry' or 'verify', not {value!r}")


def _to_quotas(value: Quota | Iterable[Quota]) -> tuple[Quota, ...]:
    if not isinstance(value, (Quota, Iterable)):
        raise TypeError(f"quotas must be Quota(...) or several of them, not {type(value).__name__}")
    quotas = (value,) if isinstance(value, Quota) else tuple(value)
    for each in quotas:
        if not isinstance(each, Quota):
            raise TypeError(f"quotas must hold Quota(...), not {type(each).__name__}")
    return quotas


def _to_weights(value: Mapping[Hashable, float]) -> dict[Hashable, float]:
    weights = dict(value)
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise TypeError(f"weights must be numbers, not {weight!r} for {name!r}")
        if not 0 < weight < inf:
            raise ValueError(f"weights must be above 0 and finite, not {weight} for {name!r}")
    return weights


@attrs.frozen(kw_only=True)
class Fairness:
    """How tenants share a batcher that has not enough for all of them.

    When more calls are due than may be out, they go round by weight, in records. When places are short, the next one
    goes to the tenant that holds the fewest for its weight. No tenant holds more places than one lane may.

    :param by: called with the key of a lane: lanes with equal results are one tenant. None makes each lane a tenant
    :param weights: tenant to weight, above 0; 1 for those that are not named
    """

    by: Callable[[Any], Hashable] | None = attrs.field(default=None, validator=_function_of_a_key)
    weights: Mapping[Hashable, float] = attrs.field(factory=dict, converter=_to_weights)

    def name_of(self, key: Hashable) -> Hashable:
        """Return the tenant of the lane of *key*; raises what ``by`` raises."""
        return _name_of(self.by, key, "Fairness", key)


@attrs.frozen(kw_only=True)
class Limits:
    """Ceilings of one batcher. Above the pending ones ``submit()`` waits and ``submit_nowait()`` raises.

    One lane may hold half of what is pending in all, unless ``max_lane_records`` and ``max_lane_bytes`` say
    otherwise. All lanes together may have ``max_in_flight`` calls out, one lane ``max_lane_in_flight``.

    :param max_pending_records: records accepted and without outcome, in all lanes
    :param max_pending_bytes: encoded size of these, in all lanes. Unused without sizes
    :param max_lane_records: records accepted and without outcome, in one lane; None means half of
        ``max_pending_records``
    :param max_lane_bytes: encoded size of these; None means half of ``max_pending_bytes``
    :param max_in_flight: calls out at the same time, in all lanes
    :param max_lane_in_flight: calls out at the same time, in one lane
    :param call_timeout: seconds after which a call is cancelled and its records are unknown
    :param shutdown_timeout: seconds to drain after the ``async with`` body ended, and of ``end_within()``. Below what
        hosts grant: 30 by default in Kubernetes and of gunicorn, of which a host takes some for itself
    :param quotas: what the provider allows in a window of time, one or several; all of them are kept. They outrank
        every delay
    :param fairness: how tenants share calls and places. None: lanes take turns, and places go by order of arrival
    """

    max_pending_records: int = _count(100_000)
    max_pending_bytes: int = _count(256 * 1024 * 1024)
    max_lane_records: int | None = _count(None)
    max_lane_bytes: int | None = _count(None)
    max_in_flight: int = _count(32)
    max_lane_in_flight: int = _count(4)
    call_timeout: float = attrs.field(default=60.0, converter=_seconds, validator=_duration)
    shutdown_timeout: float = attrs.field(default=20.0, converter=_seconds, validator=_duration)

    quotas: tuple[Quota, ...] = attrs.field(default=(), converter=_to_quotas)
    fairness: Fairness | None = attrs.field(default=None, validator=_this_or_none(Fairness))

    @property
    def lane_records(self) -> int:
        """The ceiling of pending records of one lane."""
        return self.max_lane_records or max(1, self.max_pending_records // 2)

    @property
    def lane_bytes(self) -> int:
        """The ceiling of pending bytes of one lane."""
        return self.max_lane_bytes or max(1, self.max_pending_bytes // 2)


@attrs.frozen(kw_only=True)
class LaneRules:
    """What a destination allows one lane, whatever the policies of the batcher say."""

    max_records: float = _count(inf, endless=True)
    """Records that one call may carry."""
    max_bytes: float = _count(inf, endless=True)
    """Encoded bytes that one call may carry."""
    max_in_flight: float = _count(inf, endless=True)
    """Calls that may be out at the same time. With 1 no two calls of the lane overlap."""
    all_or_none: bool = True
    """Whether the destination can apply a call as a whole or not at all."""
    idempotent: bool = False
    """Whether a write that may have been applied can be sent again without harm, as an update can and a create cannot.
    It is, then, whatever ``RetryPolicy(on_unknown=...)`` says. Later writes of the record wait for its outcome, but not
    for the call whose answer was lost: if the provider carries that out late, it undoes them."""
    verifiable: bool = False
    """Whether the destination can be asked, by its ``verify()``, which of these writes were applied. It is, then, under
    ``RetryPolicy(on_unknown="verify")``."""
