"""The machine: Python, the servers' programs, memory, and settings that go badly together."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from core.settings import Settings
from milepost.doctor.finding import Finding, ok, problem, warning
from milepost.embedded.binaries import postgres_program, valkey_server
from milepost.embedded.errors import ServerFailed
from milepost.embedded.identity import choose_way
from milepost.embedded.launch import NAMESPACE, OTHER_USER
from milepost.embedded.memory import memory_bytes

PYTHON_LEAST = (3, 11)
POSTGRES = 18
MEMORY_LEAST_BYTES = 2**30
_ANSWER_WITHIN_S = 20
_WAYS = {NAMESPACE: ", in a user namespace since this is root", OTHER_USER: ", as user 65534 since this is root"}
_MEMORY = Path("/dev/shm")


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Check what does not need any server."""
    yield _python()
    if settings.database_url is None:
        yield _program("PostgreSQL program", lambda: postgres_program("postgres", POSTGRES), _way)
    if settings.redis_url is None:
        yield _program("Valkey program", valkey_server, lambda _: "")
    yield from _memory(settings)
    yield from _settings(settings)


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < PYTHON_LEAST:
        return problem("Python", found, "install Python 3.11 or newer, then run `make setup PYTHON=...`")
    return ok("Python", found)


def _program(check: str, find: Callable[[], Path], tell: Callable[[Path], str]) -> Finding:
    remedy = "install Milepost again, or name servers of your own with MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL"
    try:
        program = find()
        done = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=False
        )
    except (ServerFailed, OSError, subprocess.TimeoutExpired) as error:
        return problem(check, str(error), remedy)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        return problem(check, f"{program} does not run: {said or done.returncode}", remedy)
    return ok(check, done.stdout.strip().partition("\n")[0] + tell(program))


def _way(program: Path) -> str:
    """Whom Postgres would run as."""
    return _WAYS.get(choose_way(program), "")


def _memory(settings: Settings) -> Iterator[Finding]:
    total = memory_bytes()
    found = f"{total / 2**30:.1f} GiB"
    if total < MEMORY_LEAST_BYTES:
        yield warning("memory", found, "give the machine or the container 1 GiB or more")
    else:
        yield ok("memory", found)
    if settings.database_url is None and _MEMORY.is_dir():
        size = shutil.disk_usage(_MEMORY).total
        yield ok("shared memory", f"/dev/shm has {size / 2**20:.0f} MiB; the embedded PostgreSQL does not use it")


def _settings(settings: Settings) -> Iterator[Finding]:
    odd = list(_odd_settings(settings))
    yield from odd or [ok("settings", "they go together")]


def _odd_settings(settings: Settings) -> Iterator[Finding]:
    drains, shards = settings.drain_concurrency, settings.shards
    if drains < shards:
        yield warning(
            "settings",
            f"{drains} drain processes for {shards} shards: events of one wait while another is drained",
            f"set MILEPOST_DRAIN_PROCESSES={shards}, unset it, or run that many workers",
        )
    if drains > shards:
        yield warning(
            "settings",
            f"{drains} drain processes for {shards} shards: a shard is drained by one at a time",
            f"set MILEPOST_DRAIN_PROCESSES={shards} or raise MILEPOST_SHARDS",
        )
    if shards > 4 * (os.cpu_count() or 1):
        yield warning(
            "settings", f"{shards} shards on {os.cpu_count()} processors", "lower MILEPOST_SHARDS, or run more machines"
        )
    if settings.stream_durability == "none":
        yield warning(
            "settings",
            "MILEPOST_STREAM_DURABILITY=none: a crash of the stream server loses events that were accepted",
            "unset it, unless losing events is acceptable",
        )
    if settings.host not in {"127.0.0.1", "::1", "localhost"}:
        yield warning(
            "settings",
            f"MILEPOST_HOST={settings.host}: the API takes keys from the network in clear",
            "put a proxy with TLS in front of it, or listen on 127.0.0.1",
        )
