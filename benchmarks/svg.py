"""Charts as SVG, written by hand: bars and lines, readable on a light and on a dark page, without a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10

from benchmarks.findings import Chart

# Okabe and Ito's colours, which people who see fewer colours can tell apart.
_COLOURS = ("#999999", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
_FIXED = {"floor": "#999999", "batcher": "#0072b2", "bare tasks": "#333333"}
_WIDTH, _LEFT, _RIGHT = 760, 70, 20


def drawn(chart: Chart) -> str:
    """Return the chart as a whole SVG file."""
    height, body = _bars(chart) if chart.categories else _lines(chart)
    title = _text(_WIDTH / 2, 24, chart.title, anchor="middle", size=15, weight="bold")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" font-family="sans-serif" role="img" aria-label="{escape(chart.title)}">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            title,
            *body,
            "</svg>\n",
        ]
    )


def shown(value: float) -> str:
    """Return a figure in as many digits as it deserves."""
    if value == 0:
        return "0"
    digits = max(0, 2 - floor(log10(abs(value))))
    return f"{value:,.{min(digits, 4)}f}"


def _colours(names: Sequence[str]) -> list[str]:
    free = iter(colour for colour in _COLOURS if colour not in {_FIXED.get(name) for name in names})
    return [_FIXED.get(name) or next(free, "#666666") for name in names]


# Bars, lying: names of any length fit


def _bars(chart: Chart) -> tuple[int, list[str]]:
    colours = _colours([line.name for line in chart.lines])
    most = max((y for line in chart.lines for _, y in line.points), default=1.0) or 1.0
    left, thick, top = 210, 17, 44
    wide = _WIDTH - left - 140
    body: list[str] = []
    for number, category in enumerate(chart.categories):
        if category:
            body.append(_text(16, top + 12, category, weight="bold"))
            top += 20
        for line, colour in zip(chart.lines, colours, strict=True):
            for value in (y for x, y in line.points if x == number):
                length = max(1.0, value / most * wide)
                body.append(_text(left - 8, top + 12, line.name, anchor="end"))
                body.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{thick - 3}" fill="{colour}"/>')
                body.append(_text(left + length + 6, top + 12, f"{shown(value)} {chart.y}"))
                top += thick
        top += 12
    return top + 6, body


# Lines


def _lines(chart: Chart) -> tuple[int, list[str]]:
    top, bottom, key = 62, 340, 18
    height = bottom + 56 + key * len(chart.lines)
    xs, x_ticks = _axis([x for line in chart.lines for x, _ in line.points], "x" in chart.logarithmic, from_zero=False)
    ys, y_ticks = _axis([y for line in chart.lines for _, y in line.points], "y" in chart.logarithmic, from_zero=True)

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + xs(x) * (_WIDTH - _LEFT - _RIGHT), bottom - ys(y) * (bottom - top)

    body: list[str] = []
    for tick in y_ticks:
        _, y = at(1, tick)
        body.append(_rule(_LEFT, y, _WIDTH - _RIGHT, y))
        body.append(_text(_LEFT - 8, y + 4, _tick(tick), anchor="end"))
    for tick in x_ticks:
        x, _ = at(tick, y_ticks[0])
        body.append(_rule(x, top, x, bottom))
        body.append(_text(x, bottom + 18, _tick(tick), anchor="middle"))
    body.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 38, chart.x, anchor="middle"))
    body.append(_text(8, top - 8, chart.y))
    for number, (line, colour) in enumerate(
        zip(chart.lines, _colours([line.name for line in chart.lines]), strict=True)
    ):
        places = [at(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        low = bottom + 58 + key * number
        body.append(f'<rect x="{_LEFT}" y="{low - 10}" width="12" height="12" fill="{colour}"/>')
        body.append(_text(_LEFT + 20, low, line.name))
    return height, body


def _axis(
    values: Sequence[float], logarithmic: bool, *, from_zero: bool
) -> tuple[Callable[[float], float], list[float]]:
    """Return what maps a value to 0..1, and the ticks."""
    if logarithmic:
        low, high = log10(min(values)), log10(max(values))
        ticks = [10.0**power * step for power in range(floor(low), ceil(high) + 1) for step in (1, 2, 5)]
        within = [tick for tick in ticks if low - 0.35 <= log10(tick) <= high + 0.35]
        first, last = log10(within[0]), log10(within[-1])
        return lambda value: (log10(value) - first) / (last - first or 1), _thinned(within)
    low, high = (0.0 if from_zero else min(values)), max(values)
    step = _step((high - low) or high or 1.0)
    ticks = [number * step for number in range(floor(low / step), ceil(high / step) + 1)]
    return lambda value: (value - ticks[0]) / ((ticks[-1] - ticks[0]) or 1), ticks


def _thinned(ticks: list[float]) -> list[float]:
    """Keep the powers of ten only, where all of them would be too many."""
    powers = [tick for tick in ticks if log10(tick) == round(log10(tick))]
    return powers if len(ticks) > 9 and len(powers) > 1 else ticks


def _tick(value: float) -> str:
    return f"{round(value):,}" if value >= 1 and abs(value - round(value)) < 1e-9 else f"{value:g}"


def _step(span: float) -> float:
    rough = span / 5
    power = 10.0 ** floor(log10(rough))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= rough)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e0e0e0"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="#222222">{escape(words)}</text>'
    )
