"""The whole system of a run: servers, the links to them, and the processes of Milepost, supervised as in the product.

One thread starts and supervises all of it: the kernel ends a child when the thread that started it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine

from core.errors import MilepostError
from core.services.keys import prepare_database
from core.settings import PREFIX, Settings, load_settings
from core.store.database import Sessions, connect_arguments, open_sessions
from milepost.embedded.child import MARKER, Child, send
from milepost.embedded.datadir import DataDir
from milepost.embedded.orphans import end_orphans, end_processes, find_commands
from milepost.embedded.programs import free_port
from milepost.embedded.supervisor import FRONT, WORKERS, answers
from tests.chaos.crash_points import VARIABLE
from tests.chaos.load.world import SHARDS
from tests.chaos.messages.receiver import Receiver
from tests.chaos.system.disks import Disk
from tests.chaos.system.proxy import Proxy
from tests.chaos.system.servers import ChaosServers, Fsync

_TICK_S = 0.05
_READY_WITHIN_S = 90.0
_HOST = "127.0.0.1"
_ROOT = Path(__file__).parents[3]
DRAINS_WORKER, DELIVERIES_WORKER = "worker drains", "worker deliveries"
# The arguments by which the workers with crash points are found among all processes.
CHAOS_MARKER = ("-P", "-m", "tests.chaos.worker")

Say = Callable[[str], None]


class NotReady(MilepostError):
    """The system did not get ready: there is nothing to check."""


@dataclass(frozen=True, slots=True)
class Make:
    """How a system is made. `broken` names what its workers do wrong; None: nothing.

    `fsyncs`: how the stream server may sync; it starts with the first, and each restart chooses one of them.
    """

    fsyncs: Sequence[Fsync]
    broken: str | None
    disks: Mapping[str, Disk]
    key: str

    @property
    def durability(self) -> str:
        """The stream_durability of the API: `auto` needs a server whose mode of syncing does not change."""
        if Fsync.NONE in self.fsyncs:
            return "none"
        return "auto" if len(self.fsyncs) == 1 else "waitaof"

    @property
    def waits_for_disk(self) -> bool:
        """Whether a producer has to wait until its events are on disk."""
        return Fsync.EVERYSEC in self.fsyncs


class CrashingWorker(Child):
    """`python -P -m tests.chaos.worker ARGUMENTS` instead of the product's worker."""

    __slots__ = ()

    @property
    def command(self) -> list[str]:
        """The command line of the process."""
        return [sys.executable, *CHAOS_MARKER, *self.arguments]


@dataclass(slots=True)
class System:
    """A running system in a folder. `links` are by server; `crash_points` is the folder of crash points.

    Messages are delivered to `receiver`.
    """

    data: DataDir
    make: Make
    servers: ChaosServers
    say: Say
    links: dict[str, Proxy] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)
    receiver: Receiver = field(default_factory=Receiver)

    @property
    def crash_points(self) -> Path:
        """The folder with the files that name crash points."""
        return self.data.path / "crash-points"

    @property
    def _scratch(self) -> Path:
        """The folder for temporary files, which killed processes leave behind."""
        return self.data.path / "scratch"

    @property
    def api_url(self) -> str:
        """The address of the API, which has no link."""
        return f"http://{_HOST}:{self.api_port}"

    @property
    def linked_redis_url(self) -> str:
        """The stream server through its link."""
        return _through(self.links["stream"], self.servers.redis_url)

    def start(self) -> None:
        """Start all of it; returns when the API answers. Raises NotReady, ServerFailed."""
        self.crash_points.mkdir()
        self._scratch.mkdir()
        self.servers.start()
        prepare_database(self.servers.database_url, self.make.key)
        self.links = {"postgres": Proxy(self.servers.postgres.port), "stream": Proxy(self.servers.valkey.port)}
        for link in self.links.values():
            link.start()
        self.receiver.start()
        for name, arguments in self._commands().items():
            self.start_process(name, arguments)
        self.await_api()

    def start_process(self, name: str, arguments: Sequence[str]) -> None:
        """Start a process of Milepost and supervise it from now on."""
        log = self.data.logs / f"{name.replace(' ', '-')}.log"
        kind = CrashingWorker if name in (DRAINS_WORKER, DELIVERIES_WORKER) else Child
        self.children[name] = kind(name, arguments, self.data.path, log, self._environment())
        self.children[name].start()

    def end_process(self, name: str) -> None:
        """End a process, and do not start it again."""
        self.children.pop(name).kill_group()

    def await_api(self) -> None:
        """Supervise until the API answers; raises NotReady."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while not answers(self.api_url):
            if time.monotonic() > deadline:
                raise NotReady(f"the API did not answer within {_READY_WITHIN_S:.0f} s: {self._last_log_line('api')}")
            self.supervise(_TICK_S)

    def supervise(self, seconds: float) -> None:
        """Start again whatever ends, for `seconds`."""
        until = time.monotonic() + seconds
        while True:
            self.restart_ended()
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(_TICK_S, left_s))

    def restart_ended(self) -> None:
        """Start again what has ended."""
        self.servers.check()
        for child in list(self.children.values()):
            child.check(self.say)

    def pids(self, name: str) -> tuple[int, list[int]]:
        """A process of Milepost and those that it has started."""
        pid = self.children[name].pid
        return pid, children_of(pid) if pid else []

    def heal(self) -> None:
        """Continue every process that a fault may have stopped."""
        for name in self.children:
            pid, helpers = self.pids(name)
            for each in (pid, *helpers):
                if each:
                    send(each, signal.SIGCONT)

    def stop(self) -> None:
        """End every process; the data is not needed any more."""
        for child in self.children.values():
            child.kill_group()
        for link in self.links.values():
            link.stop()
        self.receiver.stop()
        for marker in (MARKER, CHAOS_MARKER):
            end_processes(list(find_commands(self.data.path, marker)), grace_s=0)
        end_orphans(self.data.path)

    def engine(self) -> Engine:
        """The database without its link; our statements have no time limit."""
        return engine_at(self.servers.database_url)

    def sessions(self) -> Sessions:
        """Sessions of the product on the database without its link, and without a time limit."""
        return sessions_at(self.servers.database_url)

    def _commands(self) -> dict[str, Sequence[str]]:
        broken = [] if self.make.broken is None else [f"--broken={self.make.broken}"]
        crashing = {DRAINS_WORKER: ["drains", *broken], DELIVERIES_WORKER: ["deliveries", *broken]}
        return {**FRONT, **WORKERS, **crashing}

    def _environment(self) -> dict[str, str]:
        settings = {
            "DATABASE_URL": _through(self.links["postgres"], self.servers.database_url),
            "REDIS_URL": self.linked_redis_url,
            "DATA_DIR": str(self.data.path),
            "PORT": str(self.api_port),
            "SHARDS": str(SHARDS),
            "STREAM_DURABILITY": self.make.durability,
            "SECRETS_KEY": self.data.keep_secrets_key(),
            "ENDPOINT_HTTP": "true",
            "ENDPOINT_NETWORKS": f"{_HOST}/32",
        }
        # None of the caller's settings are passed on: they could name real servers.
        ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        plain = {
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self._scratch),
            "PYTHONPATH": str(_ROOT),
            VARIABLE: str(self.crash_points),
        }
        return {**ours, **{PREFIX + name: value for name, value in settings.items()}, **plain}

    def _last_log_line(self, name: str) -> str:
        log = self.children[name].log
        lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "its log is empty"


def engine_at(url: str) -> Engine:
    """An engine on a database, for questions of our own: times are UTC, and statements have no time limit."""
    return create_engine(url, pool_size=3, pool_pre_ping=True, connect_args=connect_arguments("milepost chaos", {}))


def sessions_at(url: str) -> Sessions:
    """Sessions of the product on a database; their statements have no time limit."""
    return open_sessions(url, application_name="milepost chaos", connections=4, kept=3, limits={})


@contextmanager
def running(folder: Path, make: Make, say: Say) -> Iterator[System]:
    """A running system in `folder`; all of its processes have ended when the block has."""
    data = DataDir(folder).open()
    servers = ChaosServers(data, _own_settings(data), say, fsync=make.fsyncs[0], disks=make.disks)
    system = System(data, make, servers, say)
    try:
        system.start()
        yield system
    finally:
        system.stop()


def _own_settings(data: DataDir) -> Settings:
    """Settings that name no servers, so that they are started, whatever the environment says."""
    return load_settings().model_copy(update={"database_url": None, "redis_url": None, "data_dir": data.path})


def _through(link: Proxy, url: str) -> str:
    return url.replace(f":{link.target}/", f":{link.port}/")


def children_of(pid: int) -> list[int]:
    """The living processes that `pid` has started, in order of their ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Split after the last bracket: the process name before it may contain anything, brackets too.
            state, parent = path.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            if int(parent) == pid and state not in {"Z", "X"}:
                found.append(int(path.parent.name))
    return sorted(found)
