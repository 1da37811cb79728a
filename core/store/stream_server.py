"""The stream server itself: who it is, how it keeps what it is given, and how much room it has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
from redis.exceptions import ResponseError

from core.store.stream_trouble import refusing_calmly


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


def ask_stream_server(client: redis.Redis) -> StreamServer:
    """Ask the server about itself; raises StreamUnavailable."""
    with refusing_calmly():
        info: dict[str, Any] = client.info()
        seconds, microseconds = client.time()
        config, runs_scripts = _config(client), _runs_scripts(client)
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
    )


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
