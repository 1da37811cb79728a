"""`milepost keys` and `milepost tenants`: what they print, what they refuse, and what they write to the audit."""

from __future__ import annotations

import json
from datetime import date

import pytest

from core.services.keys import key_hash
from core.store.database import Sessions
from core.store.driver import Sql
from tests.commands.conftest import Rows
from tests.conftest import Run


def test_tenants_are_listed_with_what_an_operator_asks(run: Run, session_factory: Sessions) -> None:
    """Name, zone, creation, the last closed day and the number of keys that work, for people and as JSON."""
    status, out, _ = run("tenants", "create", "acme", "--time-zone", "Europe/Prague", "--json")
    made = json.loads(out)
    assert (status, made["name"], made["time_zone"], made["closed_through"]) == (0, "acme", "Europe/Prague", None)
    for _ in range(2):
        run("keys", "create", "--scope", "admin", "--tenant", "acme")
    key_id = json.loads(run("keys", "list", "--tenant", "acme", "--json")[1])[0]["key_id"]
    run("keys", "revoke", key_id, "--tenant", "acme")
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET closed_through = :day WHERE tenant = 'acme'").run(session, {"day": date(2026, 3, 9)})
    status, out, _ = run("tenants", "list", "--json")
    assert status == 0
    acme, default = json.loads(out)
    assert acme == made | {"closed_through": "2026-03-09", "keys": 1}
    assert (default["name"], default["time_zone"], default["keys"]) == ("default", "UTC", 1)
    status, out, _ = run("tenants", "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["tenant", "acme", "default"]
    assert "2026-03-09" in out


def test_when_messages_are_announced_can_be_changed(run: Run, rows: Rows) -> None:
    """Each part alone; what is not named stays, and only a change is in the audit."""
    run("tenants", "create", "acme", "--time-zone", "UTC")
    before = {"within_s": 7 * 86_400, "after_s": 0, "at_close": False}
    for options, changed in (
        ((), {}),
        (("--within-days", "3"), {"within_s": 3 * 86_400}),
        (("--after-minutes", "60"), {"after_s": 3_600}),
        (("--at-close",), {"at_close": True}),
        (("--at-once",), {"at_close": False}),
    ):
        status, out, _ = run("tenants", "announce", "acme", *options, "--json")
        assert (status, json.loads(out)) == (0, before | changed)
        before |= changed
    assert "announced after 1:00:00" in run("tenants", "announce", "acme")[1]
    assert len(rows("SELECT 1 FROM audit WHERE tenant = 'acme' AND action = 'tenant.announcing'")) == 4


def test_a_key_made_as_json_works(run: Run, rows: Rows) -> None:
    """`keys create --json` gives the secret whose hash is stored, with all that the list shows."""
    status, out, _ = run("keys", "create", "--scope", "goals:read", "--label", "[bold]sync", "--json")
    made = json.loads(out)
    assert status == 0
    listed = json.loads(run("keys", "list", "--json")[1])[-1]
    assert made == {"key": made["key"], "tenant": "default"} | listed
    ((stored,),) = rows("SELECT key_hash FROM api_keys WHERE key_id = :id", id=made["key_id"])
    assert bytes(stored) == key_hash(made["key"])
    assert "[bold]sync" in run("keys", "list")[1]


def test_a_revoked_key_is_printed_as_json(run: Run) -> None:
    """`keys revoke --json` gives the moment that the list then shows."""
    key_id = json.loads(run("keys", "create", "--scope", "admin", "--json")[1])["key_id"]
    status, out, _ = run("keys", "revoke", key_id, "--json")
    printed = json.loads(out)
    assert (status, printed["key_id"]) == (0, key_id)
    assert json.loads(run("keys", "list", "--json")[1])[-1]["revoked_at"] == printed["revoked_at"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "list", "--tenant", "nope"), "there is no tenant nope; `milepost tenants list` shows"),
        (("keys", "create", "--scope", "admin", "--tenant", "nope"), "there is no tenant nope"),
        (("keys", "revoke", "abc", "--tenant", "nope"), "there is no tenant nope"),
        (("keys", "create", "--scope", "admin", "--label", "bootstrap"), "label: bootstrap is the first key's"),
        (("keys", "create", "--scope", "admin", "--label", " bootstrap "), "label: bootstrap is the first key's"),
        (("keys", "create", "--scope", "admin", "--label", ""), "label: must not be blank"),
        (("tenants", "create", "Acme", "--time-zone", "UTC"), "name: must be"),
        (("tenants", "create", "acme", "--time-zone", "Mars/Olympus"), "time_zone: 'Mars/Olympus' is not"),
        (("tenants", "create", "acme", "--time-zone", "../UTC"), "time_zone: '../UTC' is not"),
        (
            ("tenants", "announce", "nope", "--after-minutes", "5"),
            "there is no tenant nope; `milepost tenants list` shows",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    run: Run, rows: Rows, arguments: tuple[str, ...], said: str
) -> None:
    """Each refusal says what is wrong; neither tenants, keys nor the audit change."""
    everything = "SELECT t::text FROM {} t ORDER BY 1"
    before = [rows(everything.format(table)) for table in ("tenants", "api_keys", "audit")]
    status, out, errors = run(*arguments)
    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"milepost: {said}")
    assert [rows(everything.format(table)) for table in ("tenants", "api_keys", "audit")] == before


def test_the_audit_names_the_command_line(run: Run, rows: Rows) -> None:
    """Operations on tenants and keys are in the audit with the command line as actor."""
    run("tenants", "create", "acme", "--time-zone", "UTC")
    key_id = json.loads(run("keys", "create", "--scope", "admin", "--tenant", "acme", "--json")[1])["key_id"]
    run("keys", "revoke", key_id, "--tenant", "acme")
    acts = rows("SELECT actor, action, subject FROM audit WHERE tenant = 'acme' ORDER BY at")
    who = "command line"
    assert acts == [(who, "tenant.created", "acme"), (who, "key.created", key_id), (who, "key.revoked", key_id)]


@pytest.mark.parametrize(
    "command",
    [
        ("keys", "create"),
        ("keys", "list"),
        ("keys", "revoke"),
        ("tenants", "create"),
        ("tenants", "list"),
        ("dead-letters", "list"),
        ("dead-letters", "show"),
        ("dead-letters", "replay"),
        ("dead-letters", "discard"),
        ("run",),
    ],
    ids=" ".join,
)
def test_help_has_an_example(run: Run, command: tuple[str, ...]) -> None:
    """--help shows the command as one would type it, and that it prints JSON."""
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert f"milepost {' '.join(command)} " in " ".join(out.split("Example")[1].split())
    assert "--json" in out
