"""``batcher load --to ampersand:...``, to ``batcher serve`` in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import airportsdata
import pytest

from tests.cli.conftest import write_csv
from tests.cli.serving import KEY

OWN = ("--provider", "salesforce", "--group-ref", "acme")


@pytest.fixture
def to_server(server: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that loads ``in.csv`` into ``airports`` of the server."""
    monkeypatch.setenv("AMPERSAND_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(*more: str, to: str = "demo/crm") -> tuple[int, str, str]:
        arguments = ("--object", "airports", "--to", f"ampersand:{to}", "--base-url", server.address, *OWN)
        code, out, err = load.main("load", str(load.input), *arguments, *more)
        return code, out, err

    return run


def test_airports_travel_there_and_back(server: Any, load: Any, to_server: Any) -> None:
    """
    Written in full batches through the server, equal field by field in its database, each line with its own id; then
    updated and deleted by these ids.
    """
    server.start("--unique", "airports.icao", "--allow-delete", "airports")
    loaded = list(airportsdata.load("ICAO").values())[:1_500]
    airports = [{name: str(value) for name, value in row.items()} for row in loaded]
    write_csv(load.input, [*airports, airports[0]])

    code, out, _ = to_server("--empty-cells", "send")

    assert (code, "1,500  written" in out, "1  rejected" in out) == (1, True, True)
    assert len(load.marks()) <= 1_500 / 90
    rows = {row["icao"]: row for row in server.rows("airports")}
    ids = [rows[airport["icao"]].pop("id") for airport in airports]
    assert list(rows.values()) == sorted(airports, key=lambda airport: list(rows).index(airport["icao"]))
    outcomes = [outcome for _, outcome in sorted(load.outcomes().items())]
    assert [outcome.get("id") for outcome in outcomes] == [*ids, None]
    assert outcomes[-1]["errors"][0]["code"] == "DUPLICATE_VALUE"
    assert KEY not in load.results.read_text()

    write_csv(load.input, [{"id": number, "city": "Nowhere"} for number in ids[:150]])
    assert to_server("--type", "update", "--results", str(load.folder / "update.jsonl"))[0] == 0
    assert sum(row["city"] == "Nowhere" for row in server.rows("airports")) >= 150
    write_csv(load.input, [{"id": number} for number in ids[:20]])
    assert to_server("--type", "delete", "--results", str(load.folder / "delete.jsonl"))[0] == 0
    assert len(server.rows("airports")) == 1_480


def test_a_wrong_key_ends_the_load_early(server: Any, load: Any, to_server: Any, tmp_path: Path) -> None:
    """
    It is no record's fault: the load stops, shows no key, and with the right one goes on where it was.
    """
    server.start()
    load.write_input(3_000)
    wrong = tmp_path / "key"
    wrong.write_text("swordfish\n")

    code, out, err = to_server("--api-key-file", str(wrong))

    assert (code, "the service does not accept the API key" in out, "Stopped: " in out) == (3, True, True)
    assert sum(map(len, load.marks())) < 3_000
    assert set(load.applied().values()) == {"no"}
    assert "swordfish" not in out + err + load.results.read_text()
    code, out, _ = to_server("--resume")
    assert (code, "3,000  written" in out) == (0, True)
    assert sorted(int(row["n"]) for row in server.rows("airports")) == list(range(2, 3_002))


def test_names_are_percent_encoded(server: Any, load: Any, to_server: Any) -> None:
    """
    A slash within a name of --to is no separator.
    """
    server.start("--installation", "my/project", "crm 2", "acme")
    load.write_input(3)

    assert to_server(to="my%2Fproject/crm 2")[0] == 0
    assert (
        load.results.read_text()
        .splitlines()[0]
        .endswith(f'"to": "ampersand:my%2Fproject/crm 2 of \'acme\' at {server.address}"}}')
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "ampersand:demo"], "--to must be ampersand:PROJECT/INTEGRATION"),
        (["--to", "ampersand:a/b/c"], "--to must be ampersand:PROJECT/INTEGRATION"),
        (["--to", "ampersand:a/.."], "integration must be a name"),
        (["--group-ref", ""], "needs --group-ref"),
        (["--unique", "n"], "--unique belongs to --to sqlite"),
        (["--required", "n"], "--required belongs to --to sqlite"),
        (["--type", "upsert", "--by", "n"], "the Write API has none"),
        (["--base-url", "http://user:password@a"], "must hold no credentials"),
        (["--base-url", "a"], "base_url must be the address of a server"),
        (["--provider", "pipedrive"], "invalid choice: 'pipedrive'"),
        (["--api-key-file", "two"], "holds 2: keep the one to send"),
        (["--to", "sqlite:crm.db"], "--group-ref belongs to --to ampersand"),
        (["--to", "sqlite:crm.db", "--group-ref", ""], "--provider belongs to --to ampersand"),
    ],
)
def test_wrong_arguments_are_a_sentence(
    load: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """
    Exit code 2, the reason on stderr, and no results file left behind.
    """
    monkeypatch.setenv("AMPERSAND_API_KEY", KEY)
    monkeypatch.chdir(load.folder)
    Path("two").write_text("one\ntwo\n")
    load.write_input(3)

    given = ("--object", "things", "--to", "ampersand:demo/crm", *OWN)
    code, out, err = load.main("load", str(load.input), *given, *arguments)

    assert (code, out) == (2, "")
    assert words in err.replace("\n", " ")
    assert not load.results.exists()


def test_a_key_is_needed(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without one, the way out.
    """
    monkeypatch.delenv("AMPERSAND_API_KEY", raising=False)
    load.write_input(3)

    code, _, err = load.main("load", str(load.input), "--object", "things", "--to", "ampersand:demo/crm", *OWN)

    assert (code, "set the variable AMPERSAND_API_KEY, or give --api-key-file" in err) == (2, True)
