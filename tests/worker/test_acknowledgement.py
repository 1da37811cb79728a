"""What a worker does with a task that it cannot acknowledge, since the broker has gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue
from redis.exceptions import ConnectionError as RedisConnectionError

from core.settings import load_settings
from milepost.embedded.valkey import EmbeddedValkey
from worker.app import make_worker_app


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A broker that may be killed."""
    server = EmbeddedValkey.start(tmp_path / "valkey")
    yield server
    server.kill()


def taken(connection: Connection) -> Any:
    """A message that was sent and taken, by a consumer that may hold one at a time."""
    channel = connection.default_channel
    channel.basic_qos(prefetch_count=1)
    queue = Queue("tasks", channel=channel)
    queue.declare()
    connection.Producer().publish({}, routing_key="tasks")
    return queue.get()


@pytest.mark.parametrize("act", ["ack", "reject", "requeue"])
def test_a_task_that_cannot_be_acknowledged_takes_up_no_room(broker: EmbeddedValkey, act: str) -> None:
    """The error is told, and the consumer may take the next task; else it would never ask for one again."""
    settings = load_settings(database_url="postgresql://nowhere/x", redis_url=broker.url)
    with make_worker_app(settings).connection_for_read() as connection:
        message = taken(connection)
        assert not message.channel.qos.can_consume()
        broker.kill()
        with pytest.raises(RedisConnectionError):
            getattr(message, act)()
        assert message.channel.qos.can_consume()
        message.channel.qos.restore_at_shutdown = False
