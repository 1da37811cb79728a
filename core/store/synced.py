"""Whether what a server has written has reached its disk, also on servers whose WAITAOF says so too early.

Under `appendfsync everysec` every Valkey so far, and Redis before 8.0, answer WAITAOF as soon as a write is the
kernel's, up to a second before it is synced (redis#13793 mended it there). What was acknowledged then survives a kill,
but not a loss of power. These servers do show how many syncs are under way. Where something is not synced they begin
one, at most a second after the last one began, but not while one is under way. So after a moment without one, the next
has begun within little more than a second, and when there is none under way after that, it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import redis
from redis.exceptions import ResponseError

from core.errors import StreamUnavailable

_TRUTHFUL_REDIS = 8
# A second, and what a server needs to look: it does so ten times a second, and at each of our questions.
_BEGUN_WITHIN_S = 1.2
_LOOK_EVERY_S = 0.1
_PATIENCE_S = 6.0


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
