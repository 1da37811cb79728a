"""For tests: a stream whose drains stop at a given step, and what the API lists of the events on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from redis.exceptions import ConnectionError as RedisConnectionError

from core.ingestion.drain import ShardDrain
from core.store.database import Sessions
from core.store.dead_letters import DeadLetterKey
from core.store.driver import Sql
from core.stream.entries import RawEntry, stream_key
from core.stream.stats import BatchStats
from core.stream.stream import EventStream
from tests.api.paging import walk

ADDRESS = "/events/unapplied"
# The default, by which the API too says how many entries a drain tries at once.
BATCH_EVENTS = 4_000


def paid(number: int, amount: object = "1.50", **changes: Any) -> dict[str, Any]:
    """An event; one without an amount that is one cannot take effect."""
    data = {"account_id": f"a{number}", "transaction_id": "t", "amount": amount, "currency": "USD"}
    head = {"specversion": "1.0", "id": f"e{number}", "source": "bank", "type": "milepost.transaction.recorded"}
    return {**head, "time": "2026-01-31T12:00:00Z", "data": {**data, "posted_at": "2026-01-31"}, **changes}


class StoppingStream(EventStream):
    """A stream whose drain stops at a named step."""

    stops_at: str | None = None

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        if self.stops_at == "begin":
            raise RedisConnectionError("stopped")
        entries = super().read_after(shard, after, count)
        if entries and self.stops_at == "read":
            raise RedisConnectionError("stopped")
        return entries

    def note_stats(self, shard: int, batch: BatchStats) -> None:
        if self.stops_at == "commit":
            raise RedisConnectionError("stopped")
        super().note_stats(shard, batch)


class Harness:
    """The stream behind the API, its drains, and what the API lists as not applied."""

    def __init__(self, sessions: Sessions, client: redis.Redis, api: TestClient) -> None:
        self.sessions, self.client, self.api = sessions, client, api
        self.stream = StoppingStream(client, 2)

    def drain(self, stops_at: str | None = None) -> None:
        """Apply everything on the stream, unless the drains stop before the end."""
        self.stream.stops_at = stops_at
        for shard in range(2):
            drain = ShardDrain(self.sessions, self.stream, shard, BATCH_EVENTS, lambda: datetime.now(UTC))
            if stops_at is None:
                drain.drain()
            elif self.client.xlen(stream_key(shard)):
                with pytest.raises(RedisConnectionError):
                    drain.drain()

    def send(self, *events: dict[str, Any], api: TestClient | None = None) -> None:
        """Events that are accepted."""
        assert (api or self.api).post("/events", json=list(events)).status_code == 202

    def put(self, event: bytes, tenant: str = "default", shard: int = 0) -> str:
        """An entry as any producer may put it on the stream."""
        name: Any = self.client.xadd(stream_key(shard), {"tenant": tenant, "event": event})
        return str(name.decode())

    def listed(self, query: str = "", api: TestClient | None = None) -> list[dict[str, Any]]:
        """All that is not applied, from all pages."""
        return [event for page in walk(api or self.api, f"{ADDRESS}{query}") for event in page]

    def states(self, api: TestClient | None = None) -> list[tuple[str | None, str]]:
        """(event id, state) of each, by id."""
        return sorted(((each["id"], each["state"]) for each in self.listed(api=api)), key=str)

    def letter(self, event_id: str) -> DeadLetterKey:
        """The key of an event's dead letter."""
        (found,) = [each for each in self.listed() if each["id"] == event_id]
        return DeadLetterKey("default", found["shard"], found["entry_id"])

    def worths(self) -> dict[tuple[str, str], int]:
        """What took effect: (tenant, account) -> worth."""
        with self.sessions() as session:
            rows = Sql("SELECT tenant, account_id, worth_minor FROM accounts").rows(session, {})
            return {(row[0], row[1]): row[2] for row in rows}
