"""Several drains on a shard that die or stall at each step, with sweeps and a server that loses its last writes."""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.ingestion import apply as apply_module
from core.ingestion import shard as shard_module
from core.ingestion.apply import Applied
from core.ingestion.decode import Batch
from core.ingestion.drain import ShardDrain
from core.jobs.sweep import sweep
from core.stream.position import Position, RawEntry, in_progress_key, stream_key
from core.stream.stats import BatchStats
from core.stream.stream import EventStream, connect
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

    def position(self, shard: int) -> Position:
        self._step()
        return super().position(shard)

    def note_in_progress(self, shard: int, entry_id: bytes) -> bool:
        self._step()
        return super().note_in_progress(shard, entry_id)

    def read_after(self, shard: int, behind: bytes, count: int) -> list[RawEntry]:
        self._step()
        entries = super().read_after(shard, behind, count)
        self._step()
        return entries

    def advance(self, *arguments: Any, **named: Any) -> bool:
        self._step()
        is_there = super().advance(*arguments, **named)
        self._step()
        return is_there

    def read(self, shard: int, count: int, *, pending: bool) -> list[RawEntry]:
        self._step()
        entries = super().read(shard, count, pending=pending)
        self._step()
        return entries

    def acknowledge(self, shard: int, entry_ids: Any, batch: BatchStats | None = None) -> None:
        self._step()
        super().acknowledge(shard, entry_ids, batch)
        self._step()


class BeforeDrain(ShardDrain):
    """A drain of the version before, to which the group delivers all entries."""

    __slots__ = ()

    def _next_batch(self) -> Batch:
        return self._deliver(self.batch_events)


class Server:
    """Loses what came to it since a moment, as one does that syncs each second; producers send that again."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.losses = 0
        self._kept: tuple[bytes | None, bytes | None, int] | None = None

    def remember(self, sent: int) -> None:
        """Keep what is on disk now."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.dump(stream_key(0))
        pipeline.get(in_progress_key(0))
        self._kept = (*pipeline.execute(), sent)

    def lose(self) -> int | None:
        """Go back there; the number of the first event to be sent again."""
        kept, self._kept = self._kept, None
        if kept is None or kept[0] is None:
            return None
        pipeline = self.client.pipeline(transaction=True)
        pipeline.restore(stream_key(0), 0, kept[0], replace=True)
        if kept[1] is None:
            pipeline.delete(in_progress_key(0))
        else:
            pipeline.set(in_progress_key(0), kept[1])
        pipeline.execute()
        self.losses += 1
        return kept[2]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_in_a_storm(
    redis_client: redis.Redis,
    redis_url: str,
    session_factory: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
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

    monkeypatch.setattr(shard_module, "apply_decoded", failing_at_times)

    def work(number: int) -> None:
        kind = BeforeDrain if number == 0 and seed % 2 else ShardDrain
        luck = random.Random(seed * 100 + number)
        while not stop.is_set():
            with connect(redis_url) as client:
                stream = Shaky(client, 1)
                stream.chance = luck
                with suppress(RedisError, SQLAlchemyError, Interrupted):
                    kind(session_factory, stream, 0, luck.randint(1, 8), clock).drain(luck.random())

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
            sweep(plain)
        if chance.random() < 0.15:
            server.remember(sent)
        elif chance.random() < 0.15 and (first := server.lose()) is not None:
            append(plain, [spent(number) for number in range(first, sent)])
    stop.set()
    for thread in threads:
        thread.join()
    for _ in range(5):
        ShardDrain(session_factory, plain, 0, 5, clock).drain()
    sweep(plain)
    (status,) = plain.status()
    assert (status.length, status.pending, status.lag) == (0, 0, 0)
    assert not plain.position(0).needs_care
    assert server.losses > 0
    assert failed
    with session_factory() as session:
        applied = {row[0] for row in session.execute(text("SELECT transaction_id FROM transactions"))}
    letters = {_transaction_of(event) for _, event in dead_letters(session_factory)}
    assert applied | letters == {f"t{number}" for number in range(sent)}
    assert worths(session_factory) == {"a1": 100 * len(applied)}


def _transaction_of(event: bytes) -> str:
    found = re.search(rb'"transaction_id": "(t\d+)"', event)
    assert found is not None
    return found[1].decode()
