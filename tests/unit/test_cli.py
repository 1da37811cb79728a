"""The command line without servers: help, usage, and one line for each trouble."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import ProgrammingError
from psycopg.errors import UndefinedColumn, UndefinedTable

from milepost.cli import main
from milepost.cli.output import explain
from milepost.cli.program import COMMANDS

PARTS = (["keys", "create"], ["keys", "list"], ["keys", "revoke"], ["tenants", "create"])
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `milepost` with arguments, and with no setting but those given; returns status, output, errors."""
    for name in ("DATABASE_URL", "REDIS_URL", "PORT"):
        monkeypatch.delenv(f"MILEPOST_{name}", raising=False)
    monkeypatch.setenv("MILEPOST_DATA_DIR", str(tmp_path / "data"))

    def run_main(*arguments: str, **settings: str) -> tuple[int, str, str]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["milepost", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run_main


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), *PARTS], ids=" ".join)
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    """--help of each command ends well and says what it does."""
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert "Usage" in out


def test_the_list_of_commands_is_the_whole_list(run: Run) -> None:
    """`milepost --help` shows each command."""
    status, out, _ = run("--help")
    assert status == 0
    assert [name for name in COMMANDS if f" {name} " not in out] == []


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("up", "--port", "70000"), ("worker",), ("worker", "--queues=all"), ("keys", "create")],
    ids=" ".join,
)
def test_wrong_usage_is_status_two(run: Run, arguments: tuple[str, ...]) -> None:
    """What the command line does not know ends with status 2 and without a traceback."""
    status, _, errors = run(*arguments)
    assert status == 2
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("keys", "list"), ("migrate",), ("api",), ("worker", "--queues=jobs"), ("beat",)],
    ids=" ".join,
)
def test_without_servers_the_next_step_is_told(run: Run, arguments: tuple[str, ...]) -> None:
    """A command that needs servers and finds none says what to do."""
    assert run(*arguments) == (
        1,
        "",
        "milepost: no servers: start `milepost up` or set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL\n",
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MILEPOST_PORT", "much", "milepost: MILEPOST_PORT "),
        ("MILEPOST_DATABASE_URL", "mysql://x", "milepost: MILEPOST_DATABASE_URL must be a postgresql:// address"),
        ("MILEPOST_BOOTSTRAP_KEY", "short", "milepost: MILEPOST_BOOTSTRAP_KEY must have 20 to 200 characters"),
        ("MILEPOST_PROT", "1", "milepost: MILEPOST_PROT is not a setting of Milepost"),
    ],
)
def test_a_bad_setting_stops_the_start(run: Run, tmp_path: Path, name: str, value: str, said: str) -> None:
    """A setting that makes no sense is named in one line, and nothing is made or started."""
    status, out, errors = run("up", **{name: value})
    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(said)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [("keys", "list"), ("migrate",)], ids=" ".join)
def test_servers_that_are_away_are_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    """A refused connection is told in a line, without the password in the address."""
    status, out, errors = run(
        *arguments,
        MILEPOST_DATABASE_URL="postgresql://someone:hidden-password@127.0.0.1:1/db",
        MILEPOST_REDIS_URL="redis://:hidden-password@127.0.0.1:1/0",
    )
    assert (status, out) == (1, "")
    assert errors.startswith("milepost: the database: connection failed")
    assert errors.count("\n") == 1
    assert "hidden-password" not in errors


@pytest.mark.parametrize("trouble", [UndefinedTable, UndefinedColumn])
def test_missing_tables_are_told_with_what_makes_them(trouble: type[ProgrammingError]) -> None:
    """A database that was never migrated is the usual cause; other errors of the database stay as they are."""
    missing = trouble('relation "tenants" does not exist\nLINE 1: SELECT')
    assert explain(missing) == 'the database: relation "tenants" does not exist; was `milepost migrate` run?'
    assert explain(ProgrammingError("no")) == "the database: no"
