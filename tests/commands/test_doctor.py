"""`milepost doctor`: what it finds, and what it advises, on installations that are well and that are not."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from core.settings import load_settings
from core.store.database import Sessions
from core.store.days import JobRun, record_run
from core.store.driver import Sql
from core.stream.server import StreamServer
from milepost.cli import main
from milepost.embedded.datadir import DataDir, DirectoryLock
from milepost.embedded.valkey import EmbeddedValkey
from milepost.ops.doctor_machine import examine_machine, listener_of
from milepost.ops.doctor_servers import assess
from milepost.ops.finding import Finding, State, compare_clocks
from tests.embedded.test_up import Up

Examine = Callable[..., tuple[int, dict[str, dict[str, Any]]]]
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Runs `milepost doctor` with settings and arguments; returns status and output. No servers unless they are set."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(f"MILEPOST_{name}", raising=False)
    monkeypatch.setenv("MILEPOST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MILEPOST_PORT", "0")

    def run_main(*arguments: str, **settings: str) -> tuple[int, str]:
        for name, value in settings.items():
            monkeypatch.setenv(f"MILEPOST_{name.upper()}", value)
        monkeypatch.setattr(sys, "argv", ["milepost", "doctor", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        assert output.err == ""
        return status, output.out

    return run_main


@pytest.fixture
def examine(doctor: Callable[..., Any]) -> Examine:
    """Runs it with --json; returns status and findings by check."""

    def run(**settings: str) -> tuple[int, dict[str, dict[str, Any]]]:
        status, out = doctor("--json", **settings)
        return status, {finding["check"]: finding for finding in json.loads(out)}

    return run


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running `milepost up`, for the tests that change nothing."""
    running = Up.start(tmp_path_factory.mktemp("up") / "data")
    yield running
    running.end(signal.SIGTERM)


@pytest.fixture
def no_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor does not wait for drains of which a test knows that there are none."""
    monkeypatch.setattr("milepost.ops.doctor.OBSERVE_S", 0.2)


def test_a_running_milepost_is_well(up: Up, examine: Examine) -> None:
    """On a `milepost up` that has just started there is no problem, and a drain waits on every shard."""
    status, found = examine(data_dir=str(up.directory))
    assert [finding for finding in found.values() if finding["state"] == "problem"] == []
    assert status == 0
    for check in ("database", "durability of the database", "schema", "time zones", "appendfsync", "drains"):
        assert found[check]["state"] == "ok", found[check]
    for check in ("maxmemory-policy", "append-only file", "stream server", "clock of the database", "port"):
        assert found[check]["state"] == "ok", found[check]
    assert found["milepost up"]["found"] == f"runs here as process {up.process.pid}"


def test_when_nothing_runs_it_says_how_to_start(doctor: Callable[..., Any], tmp_path: Path) -> None:
    """With nothing started the machine is checked, the next step is printed, nothing is made, and the status is 0."""
    status, out = doctor()
    assert status == 0
    assert "none is running" in out
    assert "-> start `milepost up`" in out
    assert out.count("\nok ") + out.startswith("ok ") >= 6
    assert not (tmp_path / "data").exists()


def test_a_bad_setting_is_a_problem_with_a_name(examine: Examine) -> None:
    """A setting that stops every start is the one finding, and the status is 1."""
    status, found = examine(shards="many")
    assert (status, list(found)) == (1, ["settings"])
    assert found["settings"]["found"].startswith("MILEPOST_SHARDS ")


def test_servers_that_are_away_are_problems_without_passwords(examine: Examine) -> None:
    """Both servers away are two problems; neither shows its password, and the rest is still checked."""
    status, found = examine(
        database_url="postgresql://u:hidden-password@127.0.0.1:1/d", redis_url="redis://:hidden-password@127.0.0.1:1/0"
    )
    assert status == 1
    problems = sorted(check for check, finding in found.items() if finding["state"] == "problem")
    assert problems == ["database", "stream server"]
    assert "hidden-password" not in json.dumps(found)


@pytest.mark.usefixtures("no_drains")
def test_a_database_that_may_lose_commits_or_has_no_tables_is_reported(
    examine: Examine, database_url: str, redis_url: str, session_factory: Sessions
) -> None:
    """fsync off and a schema of another version are problems with their remedies."""
    with session_factory.begin() as session:
        Sql("DELETE FROM alembic_version").run(session, {})
    status, found = examine(database_url=database_url, redis_url=redis_url)
    assert status == 1
    assert found["durability of the database"]["state"] == "problem"
    assert found["schema"]["remedy"] == "run `milepost migrate`"
    assert "closed days" not in found
    with session_factory.begin() as session:
        Sql("INSERT INTO alembic_version VALUES ('0029')").run(session, {})
    _, found = examine(database_url=database_url, redis_url=redis_url)
    assert found["schema"]["found"].startswith("at revision 0029, which this version of Milepost cannot bring forward")
    assert found["schema"]["remedy"].startswith("keep it for the Milepost that made it")
    assert "closed days" not in found


@pytest.mark.usefixtures("no_drains")
def test_work_that_is_not_done_is_reported(
    examine: Examine, database_url: str, redis_url: str, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """A backlog without drains, late days, waiting letters, failed jobs and violations each have a line."""
    now = datetime.now(UTC)
    redis_client.xadd("milepost:events:0", {"event": b"{}"}, id="1000-0")
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET closed_through = now()::date - 5").run(session, {})
        Sql("""INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at)
                VALUES ('default', 0, '1-0', 'bad_value', 'r', '', now(), now())""").run(session, {})
        record_run(session, JobRun("default", "verify", "p", 0, now, now, '{"violations": 2}'))
        Sql("UPDATE tenants SET created_at = :at").run(session, {"at": now - timedelta(days=9)})
        record_run(session, JobRun("default", "project", "p", 0, now, now - timedelta(days=3), "{}"))
    _, found = examine(database_url=database_url, redis_url=redis_url)
    states = {check: found[check]["state"] for check in ("backlog", "drains", "closed days", "dead letters", "audit")}
    assert states == {
        "backlog": "problem",
        "drains": "warning",
        "closed days": "warning",
        "dead letters": "warning",
        "audit": "problem",
    }
    assert found["jobs"]["state"] == "warning"
    assert f"project since {now - timedelta(days=3):%Y-%m-%d %H:%M} UTC" in found["jobs"]["found"]
    assert "verify" not in found["jobs"]["found"]
    assert found["audit"]["remedy"].endswith("once they are repaired, `milepost run verify` stores a new result")
    assert "bad_value 1" in found["dead letters"]["found"]


@pytest.mark.usefixtures("no_drains")
def test_a_stream_server_that_loses_data_is_reported(examine: Examine, database_url: str, tmp_path: Path) -> None:
    """A server without an append-only file, which evicts, has a problem for each."""
    lax = {"appendonly": "no", "maxmemory-policy": "allkeys-lru"}
    server = EmbeddedValkey.start(tmp_path / "lax", settings=lax)
    try:
        _, found = examine(database_url=database_url, redis_url=server.url)
    finally:
        server.stop()
    for check in ("append-only file", "maxmemory-policy"):
        assert found[check]["state"] == "problem", check


@pytest.mark.usefixtures("no_drains")
def test_a_user_without_scripts_is_reported(examine: Examine, database_url: str, redis_client: redis.Redis) -> None:
    """If the user may use every command but EVAL, the finding names EVAL."""
    where = redis_client.connection_pool.connection_kwargs
    redis_client.acl_setuser("lame", enabled=True, passwords=["+word"], keys=["*"], commands=["+@all", "-eval"])
    try:
        address = f"redis://lame:word@{where['host']}:{where['port']}/{where.get('db', 0)}"
        _, found = examine(database_url=database_url, redis_url=address)
    finally:
        redis_client.acl_deluser("lame")
    assert found["scripts of the stream server"]["state"] == "problem"
    assert "EVAL" in found["scripts of the stream server"]["remedy"]


def stream_server(**changes: Any) -> StreamServer:
    """A server that is well, except for the changes."""
    reported = {
        "product": "Valkey",
        "version": "9.1.2",
        "used_bytes": 1,
        "max_bytes": 100,
        "is_last_write_ok": True,
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory_policy": "noeviction",
        "now": NOW,
        "runs_scripts": True,
        "knows_waitaof": True,
    }
    return StreamServer(**(reported | changes))


@pytest.mark.parametrize(
    ("changes", "durability", "check", "state"),
    [
        ({}, "auto", None, None),
        ({"version": "7.2.4"}, "auto", "stream server", "problem"),
        ({"product": "Redis", "version": "7.0.15", "knows_waitaof": False}, "auto", None, None),
        ({"product": "Redis", "version": "6.2.0"}, "auto", "stream server", "problem"),
        ({"appendfsync": "everysec", "knows_waitaof": False}, "auto", "appendfsync", "problem"),
        ({"product": "Redis", "version": "7.2.0", "appendfsync": "everysec"}, "auto", "appendfsync", "warning"),
        ({"appendfsync": "everysec"}, "always", "appendfsync", "problem"),
        ({"appendfsync": "no"}, "auto", "appendfsync", "problem"),
        ({"is_last_write_ok": False}, "auto", "append-only file", "problem"),
        ({"appendonly": None}, "auto", "append-only file", "warning"),
        ({"maxmemory_policy": None}, "auto", "maxmemory-policy", "warning"),
        ({"max_bytes": 0}, "auto", "memory of the stream server", "warning"),
        ({"used_bytes": 75}, "auto", "memory of the stream server", "warning"),
        ({"used_bytes": 95}, "auto", "memory of the stream server", "problem"),
        ({"runs_scripts": False}, "auto", "scripts of the stream server", "problem"),
    ],
)
def test_each_trait_of_a_stream_server_is_checked(
    changes: dict[str, Any], durability: str, check: str | None, state: str | None
) -> None:
    """Each value that a server reports is checked by itself; only the wrong one has a remedy."""
    settings = load_settings(stream_durability=durability)
    odd = [(f.check, f.state.value) for f in assess(stream_server(**changes), settings) if f.remedy is not None]
    assert odd == ([] if check is None else [(check, state)])


@pytest.mark.parametrize(
    ("ahead_s", "state"), [(0, "ok"), (1.5, "ok"), (5, "warning"), (-5, "warning"), (90, "problem"), (-90, "problem")]
)
def test_clocks_are_compared_beyond_the_time_of_asking(ahead_s: float, state: str) -> None:
    """Only a time outside of the two readings of our clock is a difference; the finding says which clock is ahead."""
    asked, answered = NOW - timedelta(seconds=1), NOW
    theirs = (answered if ahead_s > 0 else asked) + timedelta(seconds=ahead_s)
    found = compare_clocks("clock", asked, theirs, answered)
    assert found.state == state
    if state != "ok":
        assert ("ahead of" in found.found) is (ahead_s > 0)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"drain_processes": 1}, "1 drain processes for 2 shards"),
        ({"drain_processes": 3}, "3 drain processes for 2 shards"),
        ({"stream_durability": "none"}, "loses events"),
        ({"host": "0.0.0.0"}, "in clear"),
    ],
)
def test_settings_that_do_not_fit_together_are_reported(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], advice: str
) -> None:
    """Each odd setting is a warning that names it and what to set instead."""
    monkeypatch.delenv("MILEPOST_PORT", raising=False)
    odd = [found for found in examine_machine(load_settings(**settings)) if found.check == "settings"]
    assert [(found.state, advice in found.found) for found in odd] == [(State.WARNING, True)]


def test_a_program_that_is_gone_or_broken_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server's program that is not there, or ends at once, is a problem that says so."""
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho no such library >&2\nexit 127\n")
    broken.chmod(0o700)
    monkeypatch.setattr("milepost.ops.doctor_machine.valkey_server", lambda: broken)
    monkeypatch.setattr("milepost.embedded.programs._POSTGRES_FOLDERS", {18: "gone"})
    found: dict[str, Finding] = {each.check: each for each in examine_machine(load_settings())}
    assert found["Valkey program"].state is State.PROBLEM
    assert "no such library" in found["Valkey program"].found
    assert found["PostgreSQL program"].state is State.PROBLEM
    assert "is missing" in found["PostgreSQL program"].found


def test_a_taken_port_names_its_holder(examine: Examine) -> None:
    """A port that another process listens on is a problem that names the process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        status, found = examine(port=str(port))
        holder = listener_of(port)
    assert (status, found["port"]["state"]) == (1, "problem")
    assert f"process {os.getpid()} " in found["port"]["found"]
    assert holder is not None
    assert holder.pid == os.getpid()
    assert listener_of(port) is None


def test_a_port_of_another_milepost_stops_up_all_the_same(up: Up, examine: Examine, tmp_path: Path) -> None:
    """The port of another data directory's API is a problem here; for processes of their own, and there, it is well."""
    servers = DataDir(up.directory).servers()
    assert servers is not None
    port = servers.api_url.rpartition(":")[2]
    status, found = examine(port=port, data_dir=str(tmp_path / "another"))
    assert (status, found["port"]["state"]) == (1, "problem")
    assert "choose another with --port" in found["port"]["remedy"]
    assert examine(port=port, data_dir=str(up.directory))[1]["port"]["state"] == "ok"
    apart = {"database_url": servers.database_url, "redis_url": servers.redis_url}
    assert examine(port=port, data_dir=str(tmp_path / "another"), **apart)[1]["port"]["state"] == "ok"


def test_a_data_directory_that_cannot_be_used_is_reported(examine: Examine, tmp_path: Path) -> None:
    """A file instead of the directory is a problem, a directory open to others a warning with the command to fix it."""
    place = tmp_path / "place"
    place.write_text("")
    assert examine(data_dir=str(place))[1]["data directory"]["state"] == "problem"
    place.unlink()
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    finding = examine(data_dir=str(place))[1]["data directory"]
    assert (finding["state"], finding["remedy"]) == ("warning", f"run: chmod 700 {place}")
    place.chmod(0o700)
    lock = DirectoryLock.acquire(place)
    assert examine(data_dir=str(place))[1]["milepost up"]["found"] == f"runs here as process {os.getpid()}"
    lock.release()
