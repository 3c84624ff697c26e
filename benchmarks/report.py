"""Results as JSON and as a page: ``results.json``, ``report.md`` and one SVG per chart."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import floors
from benchmarks.findings import Check, Findings, Row
from benchmarks.scenarios import SCENARIOS
from benchmarks.svg import drawn, shown

_RESULTS = "results.json"


def save(folder: Path, found: Mapping[str, Findings], scale: str, machine: Mapping[str, Any]) -> Path:
    """Put new findings next to those of other scenarios in *folder*, and write its report.

    :returns: the report
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = load(folder)
    for letter, findings in found.items():
        results[letter] = {"scale": scale, "machine": machine, **findings.to_json()}
    text = json.dumps(dict(sorted(results.items())), indent=1)
    (folder / _RESULTS).write_text(text + "\n")
    return render(folder)


def load(folder: Path) -> dict[str, Any]:
    """Return the results in *folder*."""
    path = folder / _RESULTS
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return results


def render(folder: Path) -> Path:
    """Write the report and its charts from the results in *folder*."""
    results = load(folder)
    findings = {letter: Findings.from_json(plain) for letter, plain in results.items()}
    lines = [*_head(results), *_targets(findings)]
    for letter, each in findings.items():
        lines += _scenario(letter, each, results[letter])
        for chart in each.charts:
            (folder / f"{chart.name}.svg").write_text(drawn(chart))
    lines += _floors()
    report = folder / "report.md"
    report.write_text("\n".join(lines).rstrip() + "\n")
    return report


def _head(results: Mapping[str, Any]) -> Iterator[str]:
    yield "# What the batcher costs"
    yield ""
    yield "Written by `python -m benchmarks`. Ratios are taken pair by pair, between runs that took turns in one"
    yield "process, and the median of the rounds counts: the machine was shared, and its absolute figures say little"
    yield "about others. Where nothing waits but for the processor, the ratio is that of CPU times, which neighbours"
    yield "disturb less; rates are by the clock on the wall."
    yield ""
    machines = {
        json.dumps(each["machine"] | {"measured": "", "load": ""}): each["machine"] for each in results.values()
    }
    for machine in machines.values():
        yield (
            f"{machine['python']} on {machine['system']}, {machine['cores']} cores of a shared {machine['processor']}, "
            "with " + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()) + "."
        )
        yield ""


def _targets(findings: Mapping[str, Findings]) -> Iterator[str]:
    yield from ("## Targets", "", "| | figure | median | target | stretch | |", "| --- | --- | --- | --- | --- | --- |")
    for letter, each in findings.items():
        for check in each.checks:
            yield f"| [{letter}](#{_anchor(letter)}) | {check.name} | {check_cells(check)} |"
    yield ""


def check_cells(check: Check) -> str:
    """Return median, target, stretch and verdict."""
    bound = ">=" if check.at_least else "<="
    stretch = "" if check.stretch is None else f"{shown(check.stretch)}"
    verdict = check.verdict if check.met else f"**{check.verdict}**"
    return f"{shown(check.median)} {check.unit} | {bound} {shown(check.target)} | {stretch} | {verdict}"


def _anchor(letter: str) -> str:
    return f"{letter}-{SCENARIOS[letter].title.lower().replace(' ', '-')}"


def _scenario(letter: str, found: Findings, plain: Mapping[str, Any]) -> Iterator[str]:
    scenario, machine = SCENARIOS[letter], plain["machine"]
    option = "" if plain["scale"] == "full" else f" --{plain['scale']}"
    yield from (f"## {letter}. {scenario.title}", "", scenario.text, "")
    if option:
        yield from (f"Measured at a smaller size: `{plain['scale']}`.", "")
    for chart in found.charts:
        yield from (f"![{chart.title}]({chart.name}.svg)", "")
    yield from ("| | median | lowest | highest | rounds |", "| --- | --- | --- | --- | --- |")
    figures: list[Row | Check] = [*found.rows, *found.checks]
    for each in figures:
        spread = f"{shown(min(each.values))} | {shown(max(each.values))} | {len(each.values)}"
        yield f"| {each.name} | {shown(each.median)} {each.unit} | {spread} |"
    yield ""
    for note in found.notes:
        yield from (f"Note: {note}.", "")
    command = f"python -m benchmarks {letter}{option}"
    yield from (f"`{command}`, {machine['measured']}, load of the machine {machine['load']}.", "")


def _floors() -> Iterator[str]:
    yield from ("## The floors", "")
    for title, source in (
        ("On asyncio:", inspect.getsource(floors.Floor)),
        ("With a limit on the calls that are out:", inspect.getsource(floors.LimitedFloor)),
        ("With lanes:", inspect.getsource(floors.LanesFloor)),
        ("On trio:", _trio_floor()),
    ):
        yield from (title, "", "```python", source.rstrip(), "```", "")


def _trio_floor() -> str:
    # Read, not imported: trio is not needed to write a report.
    text = (Path(__file__).parent / "floor_trio.py").read_text()
    return text[text.index("class ") :]
