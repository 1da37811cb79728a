"""Which servers a command uses: both of the environment, or both of those that run in the data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import MilepostError
from milepost.cli.connection import connected_settings
from milepost.embedded.datadir import DataDir, RunningServers

DATABASE, STREAM = "postgresql+psycopg://milepost:a@127.0.0.1:1/milepost", "redis://:b@127.0.0.1:2/0"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory that says that servers run in it."""
    for name in list(os.environ):
        if name.startswith("MILEPOST_"):
            monkeypatch.delenv(name)
    data = DataDir(tmp_path / "data").open()
    lock = data.lock()
    data.publish(RunningServers(DATABASE, STREAM, "http://127.0.0.1:3", os.getpid(), {}))
    yield data.path
    lock.release()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("MILEPOST_DATABASE_URL", "postgresql://milepost:secret@db.example/other"),
        ("MILEPOST_REDIS_URL", "redis://:secret@redis.example:6379/0"),
    ],
)
def test_one_server_of_another_system_is_refused(
    running: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    """A mix of two systems, in which events would go to the wrong database, is refused without showing a password."""
    monkeypatch.setenv(name, url)
    with pytest.raises(
        MilepostError, match=f"^{name} names another server than what runs in .* uses: set both"
    ) as refusal:
        connected_settings(running)
    assert "secret" not in str(refusal.value)


def test_the_servers_that_run_are_used(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without addresses, and with those of the same servers, which the supervisor's own processes have."""
    found = connected_settings(running)
    monkeypatch.setenv("MILEPOST_DATABASE_URL", DATABASE)
    for settings in (found, connected_settings(running)):
        assert settings.database_url is not None
        assert settings.redis_url is not None
        assert settings.database_url.get_secret_value() == DATABASE
        assert settings.redis_url.get_secret_value() == STREAM


def test_the_secrets_key_comes_with_the_servers(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of the data directory come with the key stored there, unless another is set; other servers do not."""
    kept = DataDir(running).keep_secrets_key()
    assert connected_settings(running).secrets_keys == (kept,)
    monkeypatch.setenv("MILEPOST_DATABASE_URL", DATABASE)
    monkeypatch.setenv("MILEPOST_REDIS_URL", STREAM)
    assert connected_settings(running).secrets_keys == (kept,)
    monkeypatch.setenv("MILEPOST_SECRETS_KEY", "x" * 32)
    assert connected_settings(running).secrets_keys == ("x" * 32,)
    monkeypatch.delenv("MILEPOST_SECRETS_KEY")
    monkeypatch.setenv("MILEPOST_REDIS_URL", "redis://:c@127.0.0.1:4/0")
    monkeypatch.setenv("MILEPOST_DATABASE_URL", "postgresql://milepost:c@127.0.0.1:5/milepost")
    assert connected_settings(running).secrets_keys == ()
