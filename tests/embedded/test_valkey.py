"""The embedded Valkey server: start, durability, refusals, recovery."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from milepost.embedded.errors import DirectoryInUse, ServerFailed
from milepost.embedded.programs import stream_bytes
from milepost.embedded.valkey import EmbeddedValkey


@pytest.fixture
def server(place: Path) -> Iterator[EmbeddedValkey]:
    running = EmbeddedValkey.start(place / "valkey")
    yield running
    running.kill()


def test_an_answered_append_outlives_a_kill(server: EmbeddedValkey) -> None:
    """Whatever XADD returned is there after kill -9 and a start, at the same address."""
    with redis.Redis.from_url(server.url) as client:
        entry = client.xadd("events", {"n": "1"})
    server.kill()
    again = EmbeddedValkey.start(server.directory, port=server.port)
    try:
        assert again.url == server.url
        with redis.Redis.from_url(again.url) as client:
            assert client.xrange("events") == [(entry, {b"n": b"1"})]
    finally:
        again.kill()


def test_the_settings_that_durability_depends_on(server: EmbeddedValkey) -> None:
    """Every append is synced before it is answered, nothing is evicted, and no snapshot replaces the file."""
    with redis.Redis.from_url(server.url) as client:
        found = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save", "bind")
    assert found == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "bind": "127.0.0.1",
    }


def test_memory_has_a_limit_at_which_appending_is_refused(server: EmbeddedValkey) -> None:
    """Without a setting the server uses a share of the machine's memory, and leaves the rest for everything else."""
    with redis.Redis.from_url(server.url) as client:
        limit = int(client.config_get("maxmemory")["maxmemory"])
    assert limit == stream_bytes() >= 256 * 2**20
    assert limit <= max(256 * 2**20, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def test_appendfsync_can_be_chosen(place: Path) -> None:
    """A test may run the server with weaker durability, to see that events are lost then."""
    server = EmbeddedValkey.start(place / "valkey", appendfsync="no", settings={"maxmemory": "5mb"})
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("appendfsync", "maxmemory") == {"appendfsync": "no", "maxmemory": "5242880"}
    finally:
        server.stop()


def test_the_password_is_needed_and_hidden(server: EmbeddedValkey) -> None:
    """Without the password nothing is answered; it is in a private file, not in arguments or environment."""
    password = (server.directory / "password").read_text().strip()
    process = Path("/proc") / str(server.pid)
    assert password not in (process / "cmdline").read_text() + (process / "environ").read_text()
    assert stat.S_IMODE((server.directory / "valkey.conf").stat().st_mode) == 0o600
    with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_second_start_names_the_process_that_has_the_lock(server: EmbeddedValkey) -> None:
    """A second start on the same directory fails and names the process that has it."""
    with pytest.raises(DirectoryInUse, match=rf"in use by process {os.getpid()}\b"):
        EmbeddedValkey.start(server.directory)


def test_a_taken_port_is_reported(place: Path) -> None:
    """A port that somebody listens on is an error that says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServerFailed, match="Failed listening on port"):
        EmbeddedValkey.start(place / "valkey", port=taken.getsockname()[1])
