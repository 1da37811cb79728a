"""An append returns once its events are on disk, whichever way the stream server is set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import StreamUnavailable
from core.stream.server import StreamTooOld, await_sync, waits_for_disk
from core.stream.stream import EventStream, connect
from milepost.embedded.valkey import EmbeddedValkey

Start = Callable[..., EmbeddedValkey]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts stream servers of the test's own."""
    servers: list[EmbeddedValkey] = []

    def begin(**how: object) -> EmbeddedValkey:
        servers.append(EmbeddedValkey.start(tmp_path / f"valkey{len(servers)}", **how))  # type: ignore[arg-type]
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.mark.parametrize(("appendfsync", "waits"), [("always", 0), ("everysec", 2)])
def test_an_append_waits_for_the_disk_where_the_server_does_not(start: Start, appendfsync: str, waits: int) -> None:
    """A server that fsyncs before it answers is trusted; any other is asked to confirm each append."""
    with connect(start(appendfsync=appendfsync).url) as client:
        stream = EventStream(client, 1)
        stream.append("default", [("a", b"{}")])
        stream.append("default", [("a", b"{}")] * 1500 if waits == 0 else [("a", b"{}")])
        stats = client.info("commandstats")
        assert stats.get("cmdstat_waitaof", {"calls": 0})["calls"] == waits


def test_a_server_in_the_place_of_another_is_asked_anew(start: Start) -> None:
    """One that begins where another was may sync otherwise: what was known of that one is no longer trusted."""
    first, second = start(appendfsync="always"), start(appendfsync="everysec")
    with connect(first.url) as client, connect(second.url) as other:
        stream = EventStream(client, 1)
        stream.append("default", [("a", b"{}")])
        stream.client = other  # as when a server comes up again at the same address
        stream.append("default", [("a", b"{}")])
        assert other.info("commandstats")["cmdstat_waitaof"]["calls"] == 1


@pytest.mark.parametrize(
    ("how", "text"),
    [({"settings": {"appendonly": "no"}}, "keeps no append-only"), ({"appendfsync": "no"}, "never syncs")],
)
def test_a_server_that_keeps_nothing_is_refused(start: Start, how: dict[str, object], text: str) -> None:
    """Where nothing reaches the disk no event can be accepted for good, unless a setting says that this is meant."""
    server = start(**how)
    with connect(server.url) as client:
        with pytest.raises(StreamUnavailable, match=text):
            EventStream(client, 1).append("default", [("a", b"{}")])
        assert client.dbsize() == 0
        assert len(EventStream(client, 1, durability="none").append("default", [("a", b"{}")])) == 1


WITHOUT_WAITAOF = {"settings": {"rename-command": 'WAITAOF ""'}}


@pytest.mark.parametrize("durability", ["auto", "waitaof"])
def test_a_server_without_waitaof_is_refused_where_it_is_needed(start: Start, durability: str) -> None:
    """One that syncs now and then could not say when an event is on disk, as Redis before 7.2."""
    needed = r"needs Redis 7\.2, Valkey 8 or newer, or `appendfsync always`"
    with connect(start(appendfsync="everysec", **WITHOUT_WAITAOF).url) as client:
        stream = EventStream(client, 1, durability)
        with pytest.raises(StreamTooOld, match=needed):
            stream.require_waitaof()


def test_a_server_without_waitaof_is_taken_where_it_is_not_needed(start: Start) -> None:
    """One that syncs each write, or whose loss of events is meant, has nothing to be asked."""
    with connect(start(appendfsync="always", **WITHOUT_WAITAOF).url) as client:
        stream = EventStream(client, 1)
        stream.require_waitaof()
        assert len(stream.append("default", [("a", b"{}")])) == 1
    with connect(start(appendfsync="everysec", **WITHOUT_WAITAOF).url) as client:
        EventStream(client, 1, "none").require_waitaof()


def test_a_server_with_waitaof_or_away_or_set_up_otherwise_stops_no_start(start: Start) -> None:
    """WAITAOF is enough, a server that is down is waited for, and one that keeps nothing fails each append."""
    for url in (start(appendfsync="everysec").url, start(settings={"appendonly": "no"}).url, "redis://127.0.0.1:1/0"):
        with connect(url) as client:
            EventStream(client, 1).require_waitaof()


def test_a_stream_that_is_nearly_full_leaves_room_for_tasks(start: Start) -> None:
    """Appends are refused before the memory is used up, so that the queue of tasks on the same server still works."""
    with connect(start(settings={"maxmemory": "32mb"}).url) as client:
        stream = EventStream(client, 1)
        with pytest.raises(StreamUnavailable, match="full"):
            stream.append("default", [("a", b"x" * 1000)] * 60_000)
        assert client.info("memory")["used_memory"] < 32 * 2**20
        assert client.lpush("queue", b"x" * 1000) == 1


def test_killing_the_server_loses_nothing_that_was_appended(start: Start, tmp_path: Path) -> None:
    """kill -9 of the stream server right after an append: all entries are there when it is back."""
    server = start()
    with connect(server.url) as client:
        EventStream(client, 2).append("default", [(f"a{n}", b"{}") for n in range(300)])
    server.kill()
    again = EmbeddedValkey.start(tmp_path / "valkey0", port=server.port)
    with connect(again.url) as client:
        assert sum(status.length for status in EventStream(client, 2).status({})) == 300
    again.stop()


@pytest.mark.parametrize(
    ("server", "waits"),
    [
        ({"redis_version": "8.2.1"}, True),
        ({"redis_version": "10.0.0"}, True),
        ({"redis_version": "7.4.5"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, False),
        ({}, False),
    ],
)
def test_servers_are_trusted_to_wait_for_their_disk_from_redis_8_on(server: dict[str, str], waits: bool) -> None:
    """Before that, and in every Valkey so far, WAITAOF confirms what the kernel has and the disk has not."""
    assert waits_for_disk(server) is waits


def test_a_server_that_began_anew_has_not_synced_what_the_one_before_was_given(start: Start) -> None:
    """If the server has lost the entry that an append waits for, the append fails at once instead of waiting on."""
    with connect(start(appendfsync="everysec").url) as client:
        await_sync(client, str(client.info("server")["run_id"]))
        with pytest.raises(StreamUnavailable, match="restarted"):
            await_sync(client, "the run before")
