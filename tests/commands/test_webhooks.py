"""`milepost webhooks`: addresses are made, changed and removed, and no secret is shown or stored in clear."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.providers.registry import Provider
from core.providers.sealing import Sealer
from core.services.webhooks import Secret, secrets_of
from core.store.database import Sessions
from core.store.providers import endpoints_of
from tests.commands.conftest import Rows
from tests.conftest import Run
from tests.unit.providers.signatures.signing import TELLER_SECRET, jwk

KEY = "a key of more than thirty-two characters"
OTHER = "another key of more than thirty-two characters"


@pytest.fixture(autouse=True)
def secrets_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that encrypts the secrets in these tests."""
    monkeypatch.setenv("MILEPOST_SECRETS_KEY", KEY)


def made(run: Run, *arguments: str) -> dict[str, Any]:
    """The address that a command makes or changes."""
    status, out, errors = run("webhooks", *arguments, "--json")
    assert status == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


def stored_secrets(sessions: Sessions, provider: Provider, key: str = KEY) -> list[Secret]:
    """The secrets of the one address of a provider, in clear."""
    with sessions() as session:
        ((endpoint, _),) = endpoints_of(session, provider, "default")
        return secrets_of(Sealer(key.split(",")), endpoint)


@pytest.fixture
def teller_file(tmp_path: Path) -> Path:
    """A file with Teller's secret."""
    path = tmp_path / "secret"
    path.write_text(f"{TELLER_SECRET}\n")
    return path


def test_an_address_is_made_with_the_secret_of_a_file(
    run: Run, rows: Rows, teller_file: Path, session_factory: Sessions
) -> None:
    """It is listed without it, and neither a table nor what the command printed has it in clear."""
    endpoint = made(run, "add", "teller", "--secret-file", str(teller_file), "--label", "[bold]sync")
    assert endpoint["path"] == f"/webhooks/teller/{endpoint['endpoint_id']}"
    assert len(endpoint["endpoint_id"]) >= 36
    assert (endpoint["secrets"], "secret" in endpoint) == (1, False)
    assert json.loads(run("webhooks", "list", "--json")[1]) == [endpoint]
    assert endpoint["path"] in run("webhooks", "list")[1]
    assert stored_secrets(session_factory, Provider.TELLER) == [Secret(TELLER_SECRET)]
    assert TELLER_SECRET not in repr(stored_secrets(session_factory, Provider.TELLER))
    kept = rows("SELECT t::text, encode(sealed_secrets, 'escape') FROM webhook_endpoints t")
    assert TELLER_SECRET not in str(kept)
    acts = rows("SELECT actor, action, subject, detail FROM audit WHERE action LIKE 'webhook%'")
    assert acts == [("command line", "webhook.added", endpoint["endpoint_id"], "teller: 1 secrets")]


def test_the_list_is_whole_in_a_narrow_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path leaves no room for the rest in the usual 80 columns, and the rest is still not cut."""
    endpoint = made(run, "add", "standard")
    monkeypatch.setenv("COLUMNS", "80")
    header, line = run("webhooks", "list")[1].splitlines()
    assert header.split() == ["provider", "path", "label", "secrets", "changed"]
    changed = endpoint["changed_at"][:16].replace("T", " ")
    assert " ".join(line.split()) == f"standard {endpoint['path']} made on the command line 1 {changed}"


def test_a_secret_comes_by_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch, session_factory: Sessions) -> None:
    """Then the secret is on no disk and on no command line."""
    keys = json.dumps({"keys": [jwk(), jwk(kid="kid-2")]}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(keys)))
    assert made(run, "add", "plaid", "--secret-file", "-")["secrets"] == 2
    assert len(stored_secrets(session_factory, Provider.PLAID)) == 2


@pytest.mark.parametrize("provider", [Provider.MX, Provider.STANDARD])
def test_a_secret_is_made_where_it_is_ours_to_choose(run: Run, provider: Provider, session_factory: Sessions) -> None:
    """The secret is printed once, and it is the one that is stored."""
    endpoint = made(run, "add", provider)
    assert stored_secrets(session_factory, provider) == [Secret(endpoint["secret"])]
    status, out, _ = run("webhooks", "rotate", endpoint["endpoint_id"])
    assert status == 0
    assert out.splitlines()[-1] == f"secret {stored_secrets(session_factory, provider)[-1].text}"


def test_the_old_secret_stays_valid_for_a_while(run: Run, teller_file: Path, session_factory: Sessions) -> None:
    """A rotation ends it after the overlap, which a second rotation does not make longer; a late one drops it."""
    endpoint = made(run, "add", "teller", "--secret-file", str(teller_file))["endpoint_id"]
    teller_file.write_text("the_second_secret")
    begun = datetime.now(UTC)
    assert made(run, "rotate", endpoint, "--secret-file", str(teller_file), "--overlap-hours", "2")["secrets"] == 2
    old, new = stored_secrets(session_factory, Provider.TELLER)
    assert old.until is not None
    assert begun + timedelta(hours=2) <= old.until <= datetime.now(UTC) + timedelta(hours=2)
    assert (old.text, new) == (TELLER_SECRET, Secret("the_second_secret"))
    teller_file.write_text("the_third_secret_")
    run("webhooks", "rotate", endpoint, "--secret-file", str(teller_file))
    oldest, second, third = stored_secrets(session_factory, Provider.TELLER)
    assert (oldest, second.text, third.until) == (old, "the_second_secret", None)
    teller_file.write_text("the_fourth_secret")
    run("webhooks", "rotate", endpoint, "--secret-file", str(teller_file), "--overlap-hours", "0")
    teller_file.write_text("the_fifth_secret_")
    run("webhooks", "rotate", endpoint, "--secret-file", str(teller_file))
    assert [each.text for each in stored_secrets(session_factory, Provider.TELLER)] == [
        "the_fourth_secret",
        "the_fifth_secret_",
    ]


def test_plaids_keys_are_valid_together(run: Run, tmp_path: Path, session_factory: Sessions) -> None:
    """Another key leaves the others; one with the same name replaces the old one, as when Plaid lets it expire."""
    path = tmp_path / "keys"
    endpoint = made(run, "add", "plaid")
    assert endpoint["secrets"] == 0
    for number, key in enumerate((jwk(), jwk(kid="kid-2"), jwk(expired_at=1), jwk(kid="kid-2"))):
        path.write_text(json.dumps(key))
        changed = made(run, "rotate", endpoint["endpoint_id"], "--secret-file", str(path))
        assert changed["secrets"] == min(number + 1, 2)
    kept = [json.loads(each.text) for each in stored_secrets(session_factory, Provider.PLAID)]
    assert [(key["kid"], key["expired_at"]) for key in kept] == [("kid-1", 1), ("kid-2", None)]
    assert all(each.until is None for each in stored_secrets(session_factory, Provider.PLAID))


def test_an_address_is_removed_at_once(run: Run, rows: Rows) -> None:
    """Its secrets are removed with it; the audit records that it existed."""
    endpoint = made(run, "add", "mx")["endpoint_id"]
    assert run("webhooks", "remove", endpoint) == (0, f"removed {endpoint}\n", "")
    assert rows("SELECT * FROM webhook_endpoints") == []
    assert [act for (act,) in rows("SELECT action FROM audit WHERE subject = :id ORDER BY at", id=endpoint)] == [
        "webhook.added",
        "webhook.removed",
    ]


def test_the_sealing_key_is_changed(run: Run, monkeypatch: pytest.MonkeyPatch, session_factory: Sessions) -> None:
    """With both keys set, reseal leaves nothing that needs the old one."""
    secret = made(run, "add", "mx")["secret"]
    monkeypatch.setenv("MILEPOST_SECRETS_KEY", f"{OTHER},{KEY}")
    assert run("webhooks", "reseal") == (0, "resealed the secrets of 1 addresses and endpoints\n", "")
    assert stored_secrets(session_factory, Provider.MX, OTHER) == [Secret(secret)]


def test_another_key_changes_nothing(run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that cannot be decrypted is an error that names the setting, and stays as it is."""
    endpoint = made(run, "add", "mx")["endpoint_id"]
    before = rows("SELECT * FROM webhook_endpoints")
    monkeypatch.setenv("MILEPOST_SECRETS_KEY", OTHER)
    for command in (("rotate", endpoint), ("reseal",)):
        status, _, errors = run("webhooks", *command)
        assert (status, "another MILEPOST_SECRETS_KEY" in errors) == (1, True)
    monkeypatch.delenv("MILEPOST_SECRETS_KEY")
    for command in (("add", "teller"), ("rotate", endpoint), ("reseal",)):
        status, _, errors = run("webhooks", *command)
        assert (status, errors.startswith("milepost: MILEPOST_SECRETS_KEY is not set")) == (1, True)
    assert rows("SELECT * FROM webhook_endpoints") == before


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("add", "paypal"), 2, "paypal"),
        (("add", "teller", "--tenant", "nope"), 1, "there is no tenant nope"),
        (("add", "teller", "--secret-file", "/nowhere/at/all"), 1, "/nowhere/at/all: No such file"),
        (("add", "teller", "--label", ""), 1, "label"),
        (("rotate", "whe_none"), 1, "Webhook endpoint not found"),
        (("remove", "whe_none"), 1, "Webhook endpoint not found"),
        (("remove", "a\0b"), 1, "Webhook endpoint not found"),
        (("list", "--tenant", "nope"), 1, "there is no tenant nope"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, rows: Rows, arguments: tuple[str, ...], status: int, said: str) -> None:
    """The message says what is wrong, and nothing is written."""
    found, _, errors = run("webhooks", *arguments)
    assert (found, said in errors, "Traceback" in errors) == (status, True, False)
    assert rows("SELECT * FROM webhook_endpoints") == []


def test_a_bad_secret_is_refused_without_being_repeated(run: Run, rows: Rows, tmp_path: Path) -> None:
    """The error shows neither a text that is no secret, nor bytes that are no text, nor a text that is too long."""
    path = tmp_path / "secret"
    for raw in (b"", b"short", b"\xff" * 40, b"secret-but-with two-words-in-it", b"x" * 70_000):
        path.write_bytes(raw)
        status, out, errors = run("webhooks", "add", "teller", "--secret-file", str(path))
        assert (status, out, "secret" in errors) == (1, "", True)
        assert "two-words" not in errors
    endpoint = made(run, "add", "teller")["endpoint_id"]
    status, _, errors = run("webhooks", "rotate", endpoint)
    assert (status, "secret: is needed" in errors) == (1, True)
    status, _, errors = run("webhooks", "rotate", endpoint, "--overlap-hours", "1e9", "--secret-file", str(path))
    assert status == 1
    assert [secrets for (secrets,) in rows("SELECT secrets FROM webhook_endpoints")] == [0]


def test_a_tenant_has_a_few_addresses_for_a_provider(run: Run) -> None:
    """The number is limited, since each is tried for a delivery that names only the tenant."""
    for _ in range(10):
        assert run("webhooks", "add", "mx")[0] == 0
    status, _, errors = run("webhooks", "add", "mx")
    assert (status, "has 10 endpoints for mx already" in errors) == (1, True)
    assert run("webhooks", "add", "standard")[0] == 0
