"""`milepost verify`: exit status 0 if nothing is wrong, 1 with the wrong rows, 3 if it could not check."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.store.driver import Sql
from milepost.cli import main
from tests.verify.conftest import Filled

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(filled: Filled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """A function that runs `milepost verify` on a filled database and returns exit status, output and errors."""
    monkeypatch.setenv("MILEPOST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MILEPOST_DATABASE_URL", filled.url)
    monkeypatch.setenv("MILEPOST_REDIS_URL", "redis://127.0.0.1:1/0")

    def run_verify(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["milepost", "verify", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run_verify


def break_a_worth(filled: Filled) -> None:
    """Alter one worth by hand."""
    with filled.sessions.begin() as session:
        Sql("UPDATE accounts SET worth_minor = 1 WHERE account_id = 'visa' AND tenant IN ('york', 'cuba')").run(
            session, {}
        )


def test_it_says_that_all_holds(run: Run) -> None:
    """If nothing is wrong the exit status is 0, and each check shows how many values it compared."""
    status, out, _ = run()
    assert status == 0
    assert "all holds" in out
    assert "goal_snapshots" in out


def test_it_names_what_is_wrong(run: Run, filled: Filled) -> None:
    """If a row is wrong the exit status is 1, and the row is named with the stored and the expected value."""
    break_a_worth(filled)
    status, out, _ = run("--tenant", "york")
    assert status == 1
    assert "accounts: tenant=york account_id=visa: worth_minor: stored 1, expected -400000" in out
    assert "1 wrong" in out
    assert run("--tenant", "default")[0] == 0


def test_it_prints_json(run: Run, filled: Filled) -> None:
    """--json prints the same for a program, with the first wrong rows of each check and the count of all."""
    break_a_worth(filled)
    status, out, _ = run("--json", "--first", "1")
    printed = json.loads(out)
    assert status == 1
    assert (printed["ok"], printed["violations"], printed["tenants"]) == (False, 2, ["cuba", "default", "york"])
    accounts = next(finding for finding in printed["findings"] if finding["check"] == "accounts")
    assert accounts["wrong"] == 2
    assert accounts["first"] == [
        {
            "tenant": "cuba",
            "check": "accounts",
            "key": {"account_id": "visa"},
            "what": "worth_minor",
            "stored": "1",
            "expected": "-4000",
        }
    ]


def test_a_tenant_that_is_not_there_is_one_line(run: Run) -> None:
    """An unknown tenant is refused with advice, and with an exit status other than that of violations."""
    status, out, err = run("--tenant", "nobody")
    assert (status, out) == (3, "")
    assert "there is no tenant nobody" in err


@pytest.mark.parametrize("command", [["verify", "--json"], ["run", "verify", "--json"]])
def test_a_database_that_is_away_is_no_violation(
    run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the database cannot be read, `verify` and `run verify` end with status 3 and one line."""
    assert run
    monkeypatch.setenv("MILEPOST_DATABASE_URL", "postgresql://u:hidden-password@127.0.0.1:1/d")
    monkeypatch.setattr(sys, "argv", ["milepost", *command])
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert (end.value.code, output.out) == (3, "")
    assert output.err.strip().startswith("milepost: the database: ")
