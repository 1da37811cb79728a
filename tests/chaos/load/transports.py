"""The transports of events, and what each answer means: acknowledged, refused, or unknown."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from core.errors import StreamUnavailable
from core.stream.server import await_sync, waits_for_disk
from tests.chaos.load.events import Event
from tests.chaos.load.sent_log import Answer, SentLog
from tests.chaos.load.world import SHARDS

PATIENCE_S = 6.0
_WAIT_FOR_DISK_MS = 4_000
# Errors by which a server says that it has stored nothing: it is full, or still loading its file.
_TOOK_NOTHING = ("OOM", "LOADING", "MISCONF", "READONLY")


@dataclass(slots=True)
class StreamTransport:
    """XADD, as a producer in any language would use it; `waits_for_disk` if the server does not sync each write."""

    redis_url: str
    waits_for_disk: bool
    _client: redis.Redis | None = None

    def send(self, events: Sequence[Event], sent_log: SentLog) -> None:
        """Append events in one pipeline and record the answer of each."""
        if not events:
            return
        try:
            replies = self._append(events)
        except (RedisError, StreamUnavailable):
            sent_log.note(events, Answer.UNKNOWN)
            return
        is_on_disk = not self.waits_for_disk or _is_on_disk(replies[-1])
        for event, reply in zip(events, replies, strict=False):
            sent_log.note([event], _meaning(reply, is_on_disk))

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _append(self, events: Sequence[Event]) -> list[Any]:
        if self._client is None:
            # The client itself must not retry, since the sent log counts every send.
            once = Retry(NoBackoff(), 0)
            self._client = redis.Redis.from_url(
                self.redis_url, retry=once, socket_timeout=PATIENCE_S, socket_connect_timeout=2
            )
        server = self._client.info("server") if self.waits_for_disk else {}
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(f"milepost:events:{_shard(event)}", {"tenant": event.tenant, "event": event.body})
        if self.waits_for_disk:
            pipeline.waitaof(1, 0, _WAIT_FOR_DISK_MS)
        replies = pipeline.execute(raise_on_error=False)
        if self.waits_for_disk and not waits_for_disk(server):
            await_sync(self._client, str(server["run_id"]))
        return replies


@dataclass(slots=True)
class HttpTransport:
    """POST /events with a key of one tenant."""

    client: httpx2.Client
    last_status: int | None = None

    def send(self, events: Sequence[Event], sent_log: SentLog, *, as_lines: bool, key: str | None = None) -> Answer:
        """Post a batch, as an array or as NDJSON, and record the answer; `key` is its Idempotency-Key."""
        headers = {"Content-Type": "application/x-ndjson" if as_lines else "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = _lines(events) if as_lines else _array(events)
        answer = self._post(body, headers)
        sent_log.note(events, answer)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _post(self, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            self.last_status = None
            status = self.last_status = self.client.post("/events", content=body, headers=headers).status_code
        except httpx2.ConnectError:
            return Answer.REFUSED
        except httpx2.HTTPError:
            return Answer.UNKNOWN
        if status == 202:
            return Answer.ACKNOWLEDGED
        return Answer.REFUSED if 400 <= status < 500 and status != 409 else Answer.UNKNOWN


def http_client(url: str, key: str) -> httpx2.Client:
    """A client of the API with a tenant's key."""
    return httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S)


def _shard(event: Event) -> int:
    return zlib.crc32(f"{event.tenant}/{event.account_id}".encode()) % SHARDS


def _meaning(reply: Any, is_on_disk: bool) -> Answer:
    if isinstance(reply, OutOfMemoryError) or (
        isinstance(reply, ResponseError) and str(reply).startswith(_TOOK_NOTHING)
    ):
        return Answer.REFUSED
    if isinstance(reply, Exception) or not is_on_disk:
        return Answer.UNKNOWN
    return Answer.ACKNOWLEDGED


def _is_on_disk(reply: Any) -> bool:
    return isinstance(reply, list) and int(reply[0]) >= 1


def _array(events: Sequence[Event]) -> bytes:
    return b"[" + b",".join(event.body for event in events) + b"]"


def _lines(events: Sequence[Event]) -> bytes:
    return b"\n".join(event.body for event in events)
