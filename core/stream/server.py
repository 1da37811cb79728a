"""The stream server: its version and memory, what its errors mean, and whether what it accepted is on disk."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from core.errors import MilepostError, StreamUnavailable

# The task queue is on the same server: without memory for its messages no task would drain or trim any more.
FULL_AT = 0.9
ASK_DURABILITY_EVERY_S = 60.0
SERVERS_NEEDED = "Redis 7.2, Valkey 8 or newer"
# From this major version on, Redis answers WAITAOF only once the data is on disk.
_WAITING_REDIS = 8
# With `everysec` a sync starts within a second, plus the time until the server checks whether one is due. It checks
# ten times a second, and at each INFO.
_SYNC_STARTS_WITHIN_S = 1.2
_POLL_EVERY_S = 0.1
_SYNC_TIMEOUT_S = 6.0


class StreamTooOld(MilepostError):
    """The stream server answers, but it cannot say when an event is on disk, and it must."""

    def __init__(self) -> None:
        super().__init__(
            "the stream server has no WAITAOF, so it cannot say when an event is on disk: Milepost needs "
            f"{SERVERS_NEEDED}, or `appendfsync always`"
        )


@dataclass(frozen=True, slots=True)
class StreamServer:
    """What a server reports about itself; None for what it hides, as managed servers often do.

    `max_bytes` 0: no limit. `now` is its clock. `runs_scripts`: whether our user may run scripts.
    """

    product: str
    version: str
    used_bytes: int
    max_bytes: int
    is_last_write_ok: bool | None
    appendonly: str | None
    appendfsync: str | None
    maxmemory_policy: str | None
    now: datetime
    runs_scripts: bool
    knows_waitaof: bool


def ask_stream_server(client: redis.Redis) -> StreamServer:
    """Ask the server about itself; raises StreamUnavailable."""
    with raising_stream_unavailable():
        info: dict[str, Any] = client.info()
        seconds, microseconds = client.time()
        config, runs_scripts, has_waitaof = _config(client), _runs_scripts(client), knows_waitaof(client)
    product = "Valkey" if "valkey_version" in info else "Redis"
    written = info.get("aof_last_write_status") if info.get("aof_enabled") else None
    return StreamServer(
        product=product,
        version=str(info.get(f"{product.lower()}_version", "")),
        used_bytes=int(info.get("used_memory", 0)),
        max_bytes=int(info.get("maxmemory", 0)),
        is_last_write_ok=None if written is None else written == "ok",
        appendonly=config.get("appendonly"),
        appendfsync=config.get("appendfsync"),
        maxmemory_policy=config.get("maxmemory-policy") or info.get("maxmemory_policy"),
        now=datetime.fromtimestamp(seconds + microseconds / 1_000_000, tz=UTC),
        runs_scripts=runs_scripts,
        knows_waitaof=has_waitaof,
    )


@contextmanager
def raising_stream_unavailable() -> Iterator[None]:
    """Turn every error of the server within the block into a StreamUnavailable that says what is wrong."""
    try:
        yield
    except RedisConnectionError as error:
        raise StreamUnavailable("the stream server does not answer") from error
    except OutOfMemoryError as error:
        raise StreamUnavailable("the stream is full") from error
    except ResponseError as error:
        raise StreamUnavailable(f"the stream server refused: {error}") from error
    except RedisError as error:
        raise StreamUnavailable("the stream server did not answer in time") from error


class DurabilityCheck:
    """Checks before an append: whether the server has room, and whether the append must wait for its disk.

    `durability` says how an append knows that its events are on disk: `always` (the server fsyncs before it answers),
    `waitaof` (WAITAOF after each append, and polling where a server answers WAITAOF too early), `none` (not at all), or
    `auto`, which asks the server for its settings every ASK_DURABILITY_EVERY_S seconds and chooses.
    """

    def __init__(self, durability: str) -> None:
        self._durability = durability
        self._asked_at: float | None = None
        self._run_id: object = None
        self._answer = durability

    def check_room(self, client: redis.Redis, coming_bytes: int) -> tuple[str | None, bool]:
        """Raise StreamUnavailable if `coming_bytes` would fill the server.

        Returns the run id of the server, None if it hides it, and whether its WAITAOF really waits for the disk. After
        a restart the server may sync differently, so a new run id makes the next append ask for its settings again.
        """
        try:
            found: dict[str, Any] = client.info("server", "memory")
        except ResponseError:
            return None, True  # a managed server that does not show its memory says so itself when it is full
        if found.get("run_id") != self._run_id:
            self._run_id, self._asked_at = found.get("run_id"), None
        limit = found.get("maxmemory", 0)
        if limit and found["used_memory"] + coming_bytes > limit * FULL_AT:
            raise StreamUnavailable("the stream is full")
        return found.get("run_id"), waits_for_disk(found)

    def must_wait_for_disk(self, client: redis.Redis) -> bool:
        """Whether an append must wait for the disk. Asked again now and then, because settings and servers change."""
        now = time.monotonic()
        is_due = self._asked_at is None or now - self._asked_at > ASK_DURABILITY_EVERY_S
        if self._durability == "auto" and is_due:
            self._answer = _ask_durability(client)
            self._asked_at = now
        return self._answer == "waitaof"


def knows_waitaof(client: redis.Redis) -> bool:
    """Whether the server has WAITAOF, even if our user may not use it."""
    try:
        # With no server to wait for, it returns at once.
        client.waitaof(0, 0, 1)
    except ResponseError as error:
        return "unknown command" not in str(error)
    return True


def waits_for_disk(server: Mapping[str, Any]) -> bool:
    """Whether WAITAOF really waits for the disk: by the server's INFO, only on Redis 8 or newer."""
    if "valkey_version" in server:
        return False
    major = str(server.get("redis_version", "0")).partition(".")[0]
    return major.isdecimal() and int(major) >= _WAITING_REDIS


def await_sync(client: redis.Redis, run_id: str) -> None:
    """Return once all that the server has written by now is on disk: after about a second and a half.

    Returns at once if the server syncs each write. Raises StreamUnavailable if it takes too long, or if the server
    restarted meanwhile (its run id is not `run_id` any more).
    """
    if not _syncs_always(client):
        _await_next_sync(client, run_id)


def _config(client: redis.Redis) -> dict[str, str]:
    try:
        found = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    except ResponseError:
        return {}
    return cast(dict[str, str], found)


def _runs_scripts(client: redis.Redis) -> bool:
    try:
        client.eval("return 1", 0)
    except ResponseError:
        return False
    return True


def _ask_durability(client: redis.Redis) -> str:
    try:
        config = cast(dict[str, str], client.config_get("append*"))
    except ResponseError:
        return "waitaof"  # a managed server that does not show its settings still answers WAITAOF
    if config.get("appendonly") != "yes":
        raise StreamUnavailable(
            "the stream server keeps no append-only file: turn it on, or set MILEPOST_STREAM_DURABILITY=none"
        )
    if config.get("appendfsync") == "no":
        raise StreamUnavailable(
            "the stream server never syncs its append-only file: set appendfsync to always or everysec"
        )
    return "always" if config.get("appendfsync") == "always" else "waitaof"


def _syncs_always(client: redis.Redis) -> bool:
    try:
        config: Mapping[str, str] = client.config_get("appendfsync")  # type: ignore[assignment]  # not a coroutine here
    except ResponseError:
        return False  # a managed server that does not show its settings
    return config.get("appendfsync") == "always"


def _await_next_sync(client: redis.Redis, run_id: str) -> None:
    deadline = time.monotonic() + _SYNC_TIMEOUT_S
    idle_since: float | None = None
    idle_polls = 0
    # The last two polls must both find no sync: between them the server has checked whether one is due.
    while idle_since is None or time.monotonic() - idle_since < _SYNC_STARTS_WITHIN_S or idle_polls < 2:
        if time.monotonic() > deadline:
            raise StreamUnavailable("the stream server did not sync its append-only file in time")
        time.sleep(_POLL_EVERY_S)
        if _is_syncing(client, run_id):
            idle_polls = 0
        else:
            idle_since = time.monotonic() if idle_since is None else idle_since
            idle_polls += 1


def _is_syncing(client: redis.Redis, run_id: str) -> bool:
    found: Mapping[str, Any] = client.info("server", "persistence")
    if found.get("run_id") != run_id:
        raise StreamUnavailable("the stream server restarted before the events were on disk")
    if found.get("aof_last_write_status") != "ok":
        raise StreamUnavailable("the stream server cannot write its append-only file")
    return int(found["aof_pending_bio_fsync"]) > 0
