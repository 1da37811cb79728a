"""How events are spread over the stream's keys. The protocol alone matters here, so a fake server will do."""

from __future__ import annotations

import fakeredis
import pytest

from core.errors import StreamUnavailable
from core.stream.entries import stream_key
from core.stream.stream import EventStream


def test_events_of_one_account_lie_on_one_shard_in_their_order() -> None:
    """An account's events keep their order, and accounts spread over all shards."""
    client = fakeredis.FakeRedis()
    stream = EventStream(client, 4, durability="none")
    stream.append("default", [(f"a{n % 50}", str(n).encode()) for n in range(500)])
    seen: dict[int, list[int]] = {}
    for shard in range(4):
        rows = [int(fields[b"event"]) for _, fields in client.xrange(stream_key(shard))]
        assert rows == sorted(rows)
        seen[shard] = rows
    assert all(seen.values())
    shard_of = {n % 50: shard for shard, rows in seen.items() for n in rows}
    assert all(shard_of[n % 50] == shard for shard, rows in seen.items() for n in rows)
    assert sum(len(rows) for rows in seen.values()) == 500


def test_a_server_without_an_append_only_file_is_refused() -> None:
    """Where nothing is written to disk, an event cannot be accepted for good."""

    class Volatile(fakeredis.FakeRedis):
        def config_get(self, *args: object, **kwargs: object) -> dict[str, str]:  # type: ignore[override]  # noqa: ARG002
            return {"appendonly": "no", "appendfsync": "everysec"}

    with pytest.raises(StreamUnavailable, match="append-only"):
        EventStream(Volatile(), 1).append("default", [("a", b"{}")])
