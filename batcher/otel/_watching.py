"""What batchers hold and have done, read whenever metrics are collected, perhaps in another thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import Lock
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from batcher._shell.statistics import Statistics


class Watchable(Protocol):
    """A Batcher or a Writer."""

    def statistics(self) -> Statistics:
        """Return what it has done and holds right now."""


_HELD: Final[tuple[tuple[str, str, str, Callable[[Statistics], int]], ...]] = (
    ("batcher.pending.records", "{record}", "Records accepted and without outcome.", lambda held: held.pending),
    ("batcher.pending.size", "By", "Their encoded size, where sizes are known.", lambda held: held.pending_bytes),
    ("batcher.waiting", "{submit}", "Submits that wait for a place.", lambda held: held.waiting),
    ("batcher.in_flight", "{call}", "Calls out.", lambda held: held.in_flight),
    ("batcher.in_flight.limit", "{call}", "Calls that may be out.", lambda held: held.in_flight_limit),
    ("batcher.breakers.open", "{breaker}", "Circuit breakers that are not closed.", lambda held: held.open_breakers),
    ("batcher.lanes", "{lane}", "Lanes that hold a record, a call or a pause.", lambda held: held.lanes),
)

# One per meter provider: it calls the callbacks of one instrument of a name. The module stands for the global provider.
_watchings: WeakKeyDictionary[object, Watching] = WeakKeyDictionary()


def watching_of(provider: MeterProvider | None, meter: Meter) -> Watching:
    """Return what watches batchers for *provider*, the global one if it is None."""
    owner = metrics if provider is None else provider
    if owner not in _watchings:
        _watchings[owner] = Watching(meter)
    return _watchings[owner]


class Watching:
    """Observable instruments over all batchers that are watched, by name."""

    def __init__(self, meter: Meter) -> None:
        self._lock = Lock()
        self._series: dict[tuple[tuple[str, Any], ...], _Series] = {}
        for name, unit, description, figure in _HELD:
            meter.create_observable_up_down_counter(name, [partial(self._held, figure)], unit, description)
        meter.create_observable_counter("batcher.accepted", [self._accepted], "{record}", "Records taken in.")
        meter.create_observable_counter(
            "batcher.settled", [self._settled], "{record}", "Records that have their outcome, in whichever way."
        )

    def add(self, batcher: Watchable, attributes: Mapping[str, Any]) -> None:
        """Watch *batcher*, and add its figures to those of others with the same *attributes*."""
        with self._lock:
            self._series.setdefault(tuple(attributes.items()), _Series()).add(batcher)

    def _look(self) -> list[tuple[dict[str, Any], _Series, list[Statistics]]]:
        with self._lock:
            return [(dict(attributes), series, series.look()) for attributes, series in self._series.items()]

    def _held(self, figure: Callable[[Statistics], int], options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(sum(map(figure, statistics)), attributes)
            for attributes, _, statistics in self._look()
            if statistics
        ]

    def _accepted(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(series.accepted, attributes) for attributes, series, _ in self._look()]

    def _settled(self, options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, {**attributes, "batcher.outcome": outcome})
            for attributes, series, _ in self._look()
            for outcome, count in series.outcomes.items()
        ]


class _Series:
    """The batchers of one name. What they have done is a total, which outlives them and never falls."""

    def __init__(self) -> None:
        self._alive: list[_Watched] = []
        self._accepted = 0  # by those that are gone, as last seen
        self._outcomes: Counter[str] = Counter()

    def add(self, batcher: Watchable) -> None:
        """Watch one more."""
        self.look()
        if all(watched.batcher() is not batcher for watched in self._alive):
            self._alive.append(_Watched(batcher))

    def look(self) -> list[Statistics]:
        """Return what each of those alive holds, and bury the others."""
        found = []
        for watched in list(self._alive):
            statistics = watched.look()
            if statistics is not None:
                found.append(statistics)
                continue
            self._alive.remove(watched)
            self._accepted += watched.accepted
            self._outcomes.update(watched.outcomes)
        return found

    @property
    def accepted(self) -> int:
        """Records that they have taken in."""
        return self._accepted + sum(watched.accepted for watched in self._alive)

    @property
    def outcomes(self) -> Counter[str]:
        """Records that they have settled, by outcome."""
        return sum((Counter(watched.outcomes) for watched in self._alive), self._outcomes)


class _Watched:
    """One batcher, and its totals as last seen."""

    def __init__(self, batcher: Watchable) -> None:
        self.batcher = ref(batcher)
        self.accepted = 0
        self.outcomes: Mapping[str, int] = {}

    def look(self) -> Statistics | None:
        """Return what it holds; None if it is gone."""
        batcher = self.batcher()
        if batcher is None:
            return None
        statistics = batcher.statistics()
        # Read from another thread while its loop goes on, settled and pending records may not be of the same moment.
        self.accepted = max(self.accepted, statistics.accepted)
        self.outcomes = statistics.outcomes
        return statistics
