"""The job sweep: trims what is applied, keeps all else, and names the shards that have something left."""

from __future__ import annotations

import redis

from core.ingestion.drain import ShardDrain
from core.jobs.sweep import sweep
from core.store.database import Sessions
from core.stream.stream import EventStream
from tests.ingestion.positions import die, status
from tests.ingestion.test_drain import append, clock, spent


def test_a_sweep_keeps_what_is_not_applied(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """Trimming stops at the position, whatever a drain does with what follows it."""
    one_shard = EventStream(redis_client, 1)
    drain = ShardDrain(session_factory, one_shard, 0, 10, clock)
    append(one_shard, [spent(number) for number in range(4)])
    drain.drain()
    append(one_shard, [spent(number) for number in range(4, 9)])
    die(session_factory, 10)
    swept = sweep(session_factory, one_shard)
    assert swept.trimmed == 4
    assert swept.unapplied_shards == (0,)
    assert status(session_factory, one_shard).length == 5


def test_a_shard_left_over_from_a_larger_setting_is_swept(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """Entries on a shard beyond the present number are still named as unapplied."""
    EventStream(redis_client, 4).append("default", [(f"a{n}", spent(n)) for n in range(40)])
    assert sweep(session_factory, EventStream(redis_client, 1)).unapplied_shards == (0, 1, 2, 3)
