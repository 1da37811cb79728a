"""The first key: set, changed, refused, stored; and the printed one works."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.errors import Conflict
from core.services.keys import authenticate, bootstrap, create_key, list_keys, prepare_database, revoke_key
from core.settings import load_settings
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant, add_tenant
from milepost.embedded.datadir import DataDir
from milepost.embedded.supervisor import Supervisor

FIRST = "mp_test_key_that_is_long_enough"
SECOND = "another-key-of-twenty-and-more"


def key_id(sessions: Sessions, secret: str) -> str:
    with sessions() as session:
        caller = authenticate(session, secret)
    assert caller is not None
    return caller.key_id


def works(sessions: Sessions, secret: str) -> bool:
    with sessions() as session:
        return authenticate(session, secret) is not None


def audited(sessions: Sessions, action: str) -> list[str]:
    with sessions() as session:
        rows = Sql("SELECT subject FROM audit WHERE action = :action ORDER BY at").rows(session, {"action": action})
        return [row[0] for row in rows]


def revoke(sessions: Sessions, secret: str, now: datetime) -> None:
    with sessions.begin() as session:
        caller = authenticate(session, secret)
        assert caller is not None
        revoke_key(session, caller.tenant.name, caller.key_id, now)


def test_another_first_key_replaces_the_one_before(session_factory: Sessions, now: datetime) -> None:
    """Changing the key rotates it: the new one works, the old one is revoked with an audit row, others stay."""
    before = key_id(session_factory, FIRST)
    with session_factory.begin() as session:
        _, other = create_key(session, "default", ["goals:read"], "app", now)
        bootstrap(session, key=SECOND, now=now)
    assert [works(session_factory, secret) for secret in (FIRST, SECOND, other)] == [False, True, True]
    assert audited(session_factory, "key.revoked") == [before]
    with session_factory.begin() as session:
        bootstrap(session, key=SECOND, now=now)
        assert len(list_keys(session, "default")) == 3
    assert audited(session_factory, "key.revoked") == [before]


def test_a_revoked_first_key_is_refused(session_factory: Sessions, now: datetime) -> None:
    """Setting a revoked key is an error of one line that says what to do, and changes nothing."""
    revoke(session_factory, FIRST, now)
    with pytest.raises(
        Conflict, match=r"^the bootstrap key cannot be used: it was revoked on 2026-03-10; set "
    ) as found:
        prepare(session_factory, FIRST, now)
    assert "MILEPOST_BOOTSTRAP_KEY to a new one" in str(found.value)
    assert FIRST not in str(found.value)
    prepare(session_factory, SECOND, now)
    assert works(session_factory, SECOND)


def test_a_key_that_cannot_be_the_first_is_refused(session_factory: Sessions, now: datetime) -> None:
    """Another tenant's key, or one that may not do everything, is refused, and the first key still works."""
    with session_factory.begin() as session:
        add_tenant(session, Tenant("acme", "UTC"), now)
        _, theirs = create_key(session, "acme", ["admin"], "theirs", now)
        _, narrow = create_key(session, "default", ["goals:read"], "narrow", now)
    for secret, said in ((theirs, "a key of the tenant acme"), (narrow, "may only do goals:read")):
        with pytest.raises(Conflict, match=said):
            prepare(session_factory, secret, now)
    assert works(session_factory, FIRST)


def test_a_refused_key_is_not_stored(
    database_url: str, session_factory: Sessions, tmp_path: Path, now: datetime
) -> None:
    """A start with a revoked key leaves the key that is printed at the next start as it was."""
    data = DataDir(tmp_path / "data").open()
    data.keep_key(SECOND)
    revoke(session_factory, FIRST, now)
    with pytest.raises(Conflict):
        supervisor(data, FIRST)._prepare_database(database_url)
    assert data.keep_key(None) == SECOND


def test_a_key_of_the_settings_replaces_the_stored_one(
    database_url: str, session_factory: Sessions, tmp_path: Path
) -> None:
    """After a start with another key that one is printed and works, with and without the setting."""
    data = DataDir(tmp_path / "data").open()
    supervisor(data, None)._prepare_database(database_url)
    kept = data.keep_key(None)
    assert works(session_factory, kept)
    for given in (SECOND, None):
        supervisor(data, given)._prepare_database(database_url)
        assert data.keep_key(None) == SECOND
    assert [works(session_factory, secret) for secret in (kept, SECOND)] == [False, True]


def test_a_stored_key_that_was_revoked_is_replaced(
    database_url: str, session_factory: Sessions, tmp_path: Path, now: datetime
) -> None:
    """No setting asks for the revoked key, so a start reports that it makes another one, which revokes no other."""
    data = DataDir(tmp_path / "data").open()
    data.keep_key(SECOND)
    supervisor(data, None)._prepare_database(database_url)
    revoke(session_factory, SECOND, now)
    said: list[str] = []
    supervisor(data, None, said)._prepare_database(database_url)
    assert said == ["the stored key is revoked, making a new one"]
    assert data.keep_key(None) != SECOND
    assert works(session_factory, data.keep_key(None))
    assert works(session_factory, FIRST)


def test_a_stored_key_revokes_no_other(database_url: str, session_factory: Sessions, tmp_path: Path) -> None:
    """Two machines on one database, each with a key that it made, do not revoke each other's."""
    folders = [DataDir(tmp_path / name).open() for name in ("one", "two")]
    for data in (*folders, *folders):
        supervisor(data, None)._prepare_database(database_url)
    assert all(works(session_factory, data.keep_key(None)) for data in folders)


def prepare(sessions: Sessions, key: str, now: datetime) -> None:
    with sessions.begin() as session:
        bootstrap(session, key=key, now=now)


def supervisor(data: DataDir, given: str | None, said: list[str] | None = None) -> Supervisor:
    settings: Any = load_settings(bootstrap_key=SecretStr(given) if given else None)
    return Supervisor(data, settings, ([] if said is None else said).append)


def test_migrate_refuses_a_revoked_key(database_url: str, session_factory: Sessions, now: datetime) -> None:
    """`milepost migrate` refuses a revoked key in the same way."""
    revoke(session_factory, FIRST, now)
    with pytest.raises(Conflict, match="revoked"):
        prepare_database(database_url, FIRST)


def test_two_starts_at_once_with_one_new_key_leave_it_working(session_factory: Sessions, now: datetime) -> None:
    """The second of two migrations that bring the same key waits for the first, and does not revoke it."""
    barrier, errors = threading.Barrier(4), []

    def start() -> None:
        barrier.wait(30)
        try:
            with session_factory.begin() as session:
                bootstrap(session, key=SECOND, now=now)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert works(session_factory, SECOND)
    assert not works(session_factory, FIRST)
