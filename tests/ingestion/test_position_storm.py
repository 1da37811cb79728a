"""Several drains on a shard that die or stall at each step, with sweeps and a server that loses its last writes."""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from core.ingestion import apply as apply_module
from core.ingestion import drain as drain_module
from core.ingestion.apply import Applied
from core.ingestion.drain import ShardDrain
from core.jobs.sweep import sweep
from core.store.database import Sessions
from core.store.driver import Sql
from core.stream.entries import RawEntry, stream_key
from core.stream.position import StreamLook
from core.stream.stats import BatchStats
from core.stream.stream import EventStream, connect
from tests.ingestion.positions import is_settled, position, status
from tests.ingestion.test_drain import append, clock, dead_letters, spent, worths

DRAINS = 4
LASTS_S = 4.0
MILLISECONDS = 0.001


class Interrupted(Exception):
    """What no event can cause."""


class Shaky(EventStream):
    """A stream whose process may die or dawdle before and after each of its calls."""

    chance: random.Random

    def _step(self) -> None:
        if self.chance.random() < 0.06:
            raise RedisConnectionError("died")
        if self.chance.random() < 0.35:
            time.sleep(self.chance.randrange(30) * MILLISECONDS)

    def look(self, shard: int) -> StreamLook:
        self._step()
        found = super().look(shard)
        self._step()
        return found

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        self._step()
        entries = super().read_after(shard, after, count)
        self._step()
        return entries

    def note_stats(self, shard: int, batch: BatchStats) -> None:
        self._step()
        super().note_stats(shard, batch)


class Server:
    """Loses what came to it since a moment, as one does that syncs each second; producers send that again."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.losses = 0
        self._kept: tuple[bytes | None, int] | None = None

    def remember(self, sent: int) -> None:
        """Keep what is on disk now."""
        self._kept = self.client.dump(stream_key(0)), sent

    def lose(self) -> int | None:
        """Go back there; the number of the first event to be sent again."""
        kept, self._kept = self._kept, None
        if kept is None or kept[0] is None:
            return None
        self.client.restore(stream_key(0), 0, kept[0], replace=True)
        self.losses += 1
        return kept[1]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_in_a_storm(
    redis_client: redis.Redis, redis_url: str, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """In the end each event is applied once or a dead letter, nothing is left, and the server counts right."""
    chance, stop = random.Random(seed), threading.Event()
    calls, failed = itertools.count(), list[Exception]()
    applies = apply_module.apply_decoded

    def failing_at_times(*given: Any) -> Applied:
        # The first two fail, one in each way: a busy machine may get to too few batches for chance to choose one.
        number, dice = next(calls), random.random()
        if not stop.is_set() and (number < 2 or dice < 0.06):
            is_events_fault = number == 1 or (number > 1 and dice < 0.03)
            error = ValueError("of an event") if is_events_fault else Interrupted()
            failed.append(error)
            raise error
        return applies(*given)

    monkeypatch.setattr(drain_module, "apply_decoded", failing_at_times)

    def work(number: int) -> None:
        luck = random.Random(seed * 100 + number)
        while not stop.is_set():
            with connect(redis_url) as client:
                stream = Shaky(client, 1)
                stream.chance = luck
                with suppress(RedisError, psycopg.Error, Interrupted):
                    ShardDrain(session_factory, stream, 0, luck.randint(1, 8), clock).drain(luck.random())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(DRAINS)]
    for thread in threads:
        thread.start()
    plain, server, sent = EventStream(redis_client, 1), Server(redis_client), 0
    ends_at = time.monotonic() + LASTS_S
    while time.monotonic() < ends_at:
        count = chance.randint(1, 12)
        append(plain, [spent(sent + number) for number in range(count)])
        sent += count
        time.sleep(chance.randrange(30) * MILLISECONDS)
        if chance.random() < 0.2:
            sweep(session_factory, plain)
        if chance.random() < 0.15:
            server.remember(sent)
        elif chance.random() < 0.15 and (first := server.lose()) is not None:
            append(plain, [spent(number) for number in range(first, sent)])
    stop.set()
    for thread in threads:
        thread.join()
    for _ in range(5):
        ShardDrain(session_factory, plain, 0, 5, clock).drain()
    sweep(session_factory, plain)
    found = status(session_factory, plain)
    assert (found.length, found.lag) == (0, 0)
    assert is_settled(session_factory, plain)
    assert position(session_factory).begun_at is None
    assert server.losses > 0
    assert failed
    with session_factory() as session:
        applied = {row[0] for row in Sql("SELECT transaction_id FROM transactions").rows(session, {})}
    letters = {_transaction_of(event) for _, event in dead_letters(session_factory)}
    assert applied | letters == {f"t{number}" for number in range(sent)}
    assert worths(session_factory) == {"a1": 100 * len(applied)}


def _transaction_of(event: bytes) -> str:
    found = re.search(rb'"transaction_id": "(t\d+)"', event)
    assert found is not None
    return found[1].decode()
