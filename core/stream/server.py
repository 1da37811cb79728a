"""The stream server: what it is, how much room it has, what its errors mean, and whether its disk has what it took."""

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

# The queue of tasks lies on the same server: without room for its triggers nothing would drain or trim any more.
FULL_AT = 0.9
ASK_DURABILITY_EVERY_S = 60.0
SERVERS_NEEDED = "Redis 7.2, Valkey 8 or newer"
_TRUTHFUL_REDIS = 8
# A second, and what a server needs to look: it does so ten times a second, and at each of our questions.
_BEGUN_WITHIN_S = 1.2
_LOOK_EVERY_S = 0.1
_PATIENCE_S = 6.0


class StreamTooOld(MilepostError):
    """The stream server answers, but can't say when an event is on disk, as it would have to."""

    def __init__(self) -> None:
        super().__init__(
            "the stream server has no WAITAOF, so it cannot say when an event is on disk: Milepost needs "
            f"{SERVERS_NEEDED}, or `appendfsync always`"
        )


@dataclass(frozen=True, slots=True)
class StreamServer:
    """What a server says of itself. None: it does not show it, as managed servers often do not.

    `max_bytes` 0: no limit. `now` is its clock. `runs_scripts`: whether this user may have it run one.
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
    with refusing_calmly():
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
def refusing_calmly() -> Iterator[None]:
    """Turn every error of the server within the block into StreamUnavailable, which says what is wrong."""
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
    """What an append asks the server: whether there is room, and whether it must wait for the server's disk.

    `durability` says how an append knows that it is on disk: `always` (the server fsyncs before it answers),
    `waitaof` (asked for after each append, and waited for where that answer comes too early), `none` (not at all), or
    `auto`, which asks the server now and then.
    """

    def __init__(self, durability: str) -> None:
        self._durability = durability
        self._asked_at: float | None = None
        self._run_id: object = None
        self._answer = durability

    def look_at_server(self, client: redis.Redis, coming_bytes: int) -> tuple[str | None, bool]:
        """Refuse what would fill the server; its run, and whether it waits for its disk when it is asked to.

        A server that began anew may sync otherwise and is asked again.
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
        """Whether an append must be confirmed. A server may be set up anew, or another may take its place."""
        now = time.monotonic()
        is_due = self._asked_at is None or now - self._asked_at > ASK_DURABILITY_EVERY_S
        if self._durability == "auto" and is_due:
            self._answer = _ask_durability(client)
            self._asked_at = now
        return self._answer == "waitaof"


def knows_waitaof(client: redis.Redis) -> bool:
    """Whether the server has WAITAOF, whoever may use it."""
    try:
        # Waits for nobody.
        client.waitaof(0, 0, 1)
    except ResponseError as error:
        return "unknown command" not in str(error)
    return True


def waits_for_disk(server: Mapping[str, Any]) -> bool:
    """Whether WAITAOF waits for the disk, by what INFO says of the server: on Redis 8 or newer."""
    if "valkey_version" in server:
        return False
    major = str(server.get("redis_version", "0")).partition(".")[0]
    return major.isdecimal() and int(major) >= _TRUTHFUL_REDIS


def await_sync(client: redis.Redis, run_id: str) -> None:
    """Return when all that the server of a run has written by now is on disk: after about a second and a half.

    At once where it syncs each write. Raises StreamUnavailable if it takes too long, or began anew meanwhile.
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
    deadline = time.monotonic() + _PATIENCE_S
    quiet_since: float | None = None
    quiet_looks = 0
    # Two looks in a row at the end: between them the server has come to where it begins a sync that is due.
    while quiet_since is None or time.monotonic() - quiet_since < _BEGUN_WITHIN_S or quiet_looks < 2:
        if time.monotonic() > deadline:
            raise StreamUnavailable("the stream server did not sync its append-only file in time")
        time.sleep(_LOOK_EVERY_S)
        if _is_syncing(client, run_id):
            quiet_looks = 0
        else:
            quiet_since = time.monotonic() if quiet_since is None else quiet_since
            quiet_looks += 1


def _is_syncing(client: redis.Redis, run_id: str) -> bool:
    found: Mapping[str, Any] = client.info("server", "persistence")
    if found.get("run_id") != run_id:
        raise StreamUnavailable("the stream server began anew before the events were on disk")
    if found.get("aof_last_write_status") != "ok":
        raise StreamUnavailable("the stream server cannot write its append-only file")
    return int(found["aof_pending_bio_fsync"]) > 0
