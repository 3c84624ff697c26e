"""What a scenario finds: rows of figures, checks against targets, charts, notes. Values, to and from JSON."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import attrs


@attrs.frozen
class Row:
    """One figure of one contestant, once per round."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)


@attrs.frozen(kw_only=True)
class Check:
    """A figure with a target. Ratios are taken pair by pair, within one round."""

    name: str
    values: Sequence[float]
    target: float
    at_least: bool = True
    """The target is a floor; else it is a ceiling."""
    stretch: float | None = None
    unit: str = "x"

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median meets the target."""
        return self._reaches(self.target)

    @property
    def verdict(self) -> str:
        """The same in a word or two."""
        if not self.met:
            return "missed"
        return "met, stretch too" if self.stretch is not None and self._reaches(self.stretch) else "met"

    def _reaches(self, target: float) -> bool:
        return self.median >= target if self.at_least else self.median <= target


@attrs.frozen
class Line:
    """One series of a chart. In a chart of bars x is a number of the chart's categories."""

    name: str
    points: Sequence[tuple[float, float]]


@attrs.frozen(kw_only=True)
class Chart:
    """A plot."""

    name: str
    """Of its file, without the ending."""
    title: str
    x: str
    y: str
    lines: Sequence[Line]
    categories: Sequence[str] = ()
    """Makes it a chart of bars: what the groups of bars are called."""
    logarithmic: Sequence[str] = ()
    """The axes that are: "x", "y"."""


@attrs.frozen
class Findings:
    """What one part of a scenario, or all of them, found."""

    rows: Sequence[Row] = ()
    checks: Sequence[Check] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists, with the median, spread and verdict worked out for the reader."""
        plain = attrs.asdict(self)
        figures: list[Row | Check] = [*self.rows, *self.checks]
        for shown, figure in zip([*plain["rows"], *plain["checks"]], figures, strict=True):
            shown |= {"median": figure.median, "lowest": min(figure.values), "highest": max(figure.values)}
        for shown, check in zip(plain["checks"], self.checks, strict=True):
            shown["verdict"] = check.verdict
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Findings:
        """Return what :meth:`to_json` was made from."""
        return cls(
            [_made(Row, each) for each in plain["rows"]],
            [_made(Check, each) for each in plain["checks"]],
            [_made(Chart, each | {"lines": [_made(Line, line) for line in each["lines"]]}) for each in plain["charts"]],
            plain["notes"],
        )


def _made(kind: type[Any], plain: dict[str, Any]) -> Any:
    known = {field.name for field in attrs.fields(kind)}
    return kind(**{name: value for name, value in plain.items() if name in known})


def merged(parts: Sequence[Findings]) -> Findings:
    """Return the findings of all parts as one; charts of one name become one."""
    charts: dict[str, Chart] = {}
    for chart in (chart for part in parts for chart in part.charts):
        charts[chart.name] = _joined(charts[chart.name], chart) if chart.name in charts else chart
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Findings(
        [row for part in parts for row in part.rows],
        [check for part in parts for check in part.checks],
        list(charts.values()),
        list(notes),
    )


def _joined(first: Chart, second: Chart) -> Chart:
    """Return one chart: bars go on to the right, lines of one name go on."""
    offset = len(first.categories)
    lines = {line.name: list(line.points) for line in first.lines}
    for line in second.lines:
        lines.setdefault(line.name, []).extend((x + offset, y) for x, y in line.points)
    joined = [Line(name, points) for name, points in lines.items()]
    return attrs.evolve(first, lines=joined, categories=[*first.categories, *second.categories])
