"""Faults of the servers: killed, stopped, power lost, disk full, memory full."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

from redis.exceptions import RedisError

from core.stream.stream import connect
from milepost.embedded.child import send
from milepost.embedded.orphans import end_processes, kill_servers
from tests.chaos.faults.backlog import backlog
from tests.chaos.faults.scene import Fault, Inject, Scene
from tests.chaos.load.sent_log import Answer
from tests.chaos.load.world import ZONES
from tests.chaos.system.servers import Fsync
from tests.chaos.system.system import System

_REWRITTEN_WITHIN_S = 30.0
_TENANT = sorted(ZONES)[0]


@contextmanager
def _kill_stream(scene: Scene, chance: Random) -> Iterator[None]:
    with backlog(scene):
        fsync = chance.choice(scene.system.make.fsyncs)
        scene.say(f"the next one syncs {fsync}")
        scene.system.servers.kill_stream(fsync)
    yield


@contextmanager
def _cut_power_of_stream(scene: Scene, chance: Random) -> Iterator[None]:
    """Kill the server, and lose everything that it had not synced."""
    with backlog(scene):
        servers, pid = scene.system.servers, scene.system.servers.valkey.pid
        servers.kill_stream(chance.choice(scene.system.make.fsyncs))
        end_processes([pid], grace_s=0)
        servers.disks["valkey"].lose_power()
    yield


@contextmanager
def _cut_power_of_postgres(scene: Scene, _chance: Random) -> Iterator[None]:
    kill_servers(scene.system.data.postgres)
    scene.system.servers.disks["postgres"].lose_power()
    yield


@contextmanager
def _stop_stream(scene: Scene, _chance: Random) -> Iterator[None]:
    pid = scene.system.servers.valkey.pid
    send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pid, signal.SIGCONT)


def _by(break_it: Callable[[System], None]) -> Inject:
    @contextmanager
    def done(scene: Scene, _chance: Random) -> Iterator[None]:
        break_it(scene.system)
        yield

    return done


@contextmanager
def _full_disk_of_postgres(scene: Scene, _chance: Random) -> Iterator[None]:
    disk = scene.system.servers.disks["postgres"]
    disk.fill()
    try:
        yield
    finally:
        disk.free_space()


@contextmanager
def _full_disk_of_stream(scene: Scene, _chance: Random) -> Iterator[None]:
    """Repaired as docs/operations.md says: a server that went on must rewrite its file."""
    disk = scene.system.servers.disks["valkey"]
    disk.fill()
    try:
        yield
    finally:
        disk.free_space()
        if scene.system.servers.fsync is Fsync.EVERYSEC:
            scene.say("its file is rewritten" if _rewrite_file(scene) else "its file was not rewritten")


def _rewrite_file(scene: Scene) -> bool:
    """Rewrite the append-only file once the server can write again; returns False if that took too long."""
    asked: list[object] = []

    def is_rewritten() -> bool:
        with suppress(RedisError), connect(scene.system.servers.redis_url) as client:
            found = client.info("persistence")
            if not asked:
                if found["aof_last_write_status"] == "ok":
                    asked.append(client.bgrewriteaof())
                return False
            is_done = not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]
            return is_done and found["aof_last_bgrewrite_status"] == "ok"
        return False

    return scene.await_(is_rewritten, _REWRITTEN_WITHIN_S)


@contextmanager
def _full_memory(scene: Scene, _chance: Random) -> Iterator[None]:
    """Leave no memory for a single event: XADD must fail, and POST /events must answer 503."""
    servers = scene.system.servers
    with connect(servers.redis_url) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", "1")
        try:
            _expect_full(scene)
            yield
        finally:
            # A server that was restarted has its memory back.
            with suppress(RedisError):
                client.config_set("maxmemory", before)


def _expect_full(scene: Scene) -> None:
    by_stream, by_http = scene.producer.single(_TENANT), scene.producer.single(_TENANT)
    scene.stream.send([by_stream], scene.sent_log)
    answer = scene.http.send([by_http], scene.sent_log, as_lines=False)
    answers = scene.sent_log.events[by_stream.event_id].answers
    rows = [f"XADD to a full server was answered {answers}"] if set(answers) != {Answer.REFUSED} else []
    status = scene.http.last_status
    if answer is not Answer.UNKNOWN or status != 503:
        rows.append(f"POST /events before a full server was answered {status}, not 503")
    scene.verdict.record("full stream is refused", 2, rows)


SERVER_FAULTS = (
    Fault("kill the stream server", _kill_stream, (1.0, 3.0)),
    Fault("cut the power of the stream server", _cut_power_of_stream, (1.0, 3.0), needs_disk=True),
    Fault("stop the stream server", _stop_stream, (2.0, 6.0)),
    Fault("fill the disk of the stream server", _full_disk_of_stream, (3.0, 5.0), needs_disk=True),
    Fault("fill the memory of the stream server", _full_memory, (3.0, 5.0)),
    Fault("stop Postgres immediately", _by(lambda system: system.servers.stop_postgres_at_once()), (1.0, 3.0)),
    Fault("kill the postmaster", _by(lambda system: system.servers.kill_postmaster()), (1.0, 3.0)),
    Fault("cut the power of Postgres", _cut_power_of_postgres, (1.0, 3.0), needs_disk=True),
    Fault("fill the disk of Postgres", _full_disk_of_postgres, (3.0, 6.0), needs_disk=True),
)
