"""The benchmarks run: every scenario at a thousandth of its size, for crashes only. No test looks at a time.

Each runs in child processes with a real clock; contestants that are not installed are left out and named.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import contestants, http_clients
from benchmarks.__main__ import main
from benchmarks.findings import Chart, Check, Findings, Line, Row, merged
from benchmarks.report import render, save
from benchmarks.scenarios import SCENARIOS
from benchmarks.svg import drawn

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("letter", SCENARIOS)
def test_a_scenario_runs(letter, tmp_path, capsys):
    """It exits with 0 whatever the targets say, and leaves results, a report and charts."""
    assert main([letter, "--tiny", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "results.json").read_text())[letter]
    assert result["rows"] and all(row["values"] for row in result["rows"])
    report = (tmp_path / "report.md").read_text()
    for check in result["checks"]:
        assert check["verdict"].split(",")[0] in ("met", "missed")
        assert check["name"] in printed and check["name"] in report
    for note in result["notes"]:
        assert note.endswith("is not installed"), note
        assert note in report
    for chart in result["charts"]:
        assert f"({chart['name']}.svg)" in report
        assert ElementTree.parse(tmp_path / f"{chart['name']}.svg").getroot().tag == f"{SVG}svg"


def test_what_is_not_installed_is_named(monkeypatch):
    """With the dev extra alone the harness runs, and says whom it could not ask."""
    for module in (contestants, http_clients):
        monkeypatch.setattr(module, "version_of", lambda distribution: None)
    here, notes = contestants.others_here()
    assert not here and notes == [f"{name} is not installed" for name in contestants.OTHERS]
    clients, notes = http_clients.clients_here()
    assert not clients and len(notes) == len(http_clients.CLIENTS)


def test_an_unknown_scenario_is_refused(capsys):
    """Before anything is measured."""
    with pytest.raises(SystemExit):
        main(["z"])
    assert "no scenario z" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "at_least", "verdict"),
    [
        ([0.7, 0.9, 0.7], True, "missed"),
        ([0.8, 0.1, 0.9], True, "met"),
        ([2.0, 2.0], True, "met, stretch too"),
        ([0.9], False, "missed"),
        ([0.8], False, "met"),
    ],
)
def test_the_median_of_the_rounds_decides(values, at_least, verdict):
    """On the right side of the target, which may be a floor or a ceiling."""
    stretch = 1.0 if at_least else None
    assert Check(name="", values=values, target=0.8, at_least=at_least, stretch=stretch).verdict == verdict


def test_findings_survive_their_trip_through_json():
    """The parts run in other processes."""
    findings = Findings([Row("a", "x", [1.0, 3.0])], [Check(name="c", values=[1.0], target=2.0)], [_bars("b")], ["n"])
    text = json.dumps(findings.to_json())
    assert json.dumps(Findings.from_json(json.loads(text)).to_json()) == text


def test_parts_become_one_chart():
    """Bars of the second part stand to the right of those of the first, under the same name."""
    (chart,) = merged([Findings(charts=[_bars("left")]), Findings(charts=[_bars("right")])]).charts
    assert chart.categories == ["left", "right"]
    assert [list(line.points) for line in chart.lines] == [[(0, 5.0), (1, 5.0)]]


def test_a_chart_escapes_its_words():
    """Titles and names are words, not markup."""
    root = ElementTree.fromstring(drawn(_bars("a < b & c")))
    assert "a < b & c" in [text.text for text in root.iter(f"{SVG}text")]


def test_results_of_other_scenarios_are_kept(tmp_path: Path):
    """One scenario may be measured again without the others."""
    machine = {"python": "", "system": "", "cores": 2, "processor": "", "versions": {}, "measured": "", "load": 0}
    for letter in ("i", "f"):
        save(tmp_path, {letter: Findings([Row("r", "x", [1.0])])}, "full", machine)
    assert list(json.loads((tmp_path / "results.json").read_text())) == ["f", "i"]
    assert "class Floor" in render(tmp_path).read_text()


def _bars(category: str) -> Chart:
    return Chart(name="n", title="t", x="", y="ms", categories=[category], lines=[Line("ours", [(0, 5.0)])])
