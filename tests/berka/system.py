"""A real `milepost up` on a folder of its own: started, asked, its workers killed, and always ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from core.settings import load_settings
from milepost.embedded.child import MARKER
from milepost.embedded.orphans import end_orphans, end_processes, find_commands, is_alive
from milepost.embedded.process import spawn
from worker.app import make_worker_app

READY_WITHIN_S = 90
STOP_WITHIN_S = 15
REPLAYED_WITHIN_S = 600
POLL_S, SELDOM_S = 0.005, 0.05
CLOSED_WITHIN_S = 300
DRAINS, JOBS = "worker drains", "worker jobs"


class SystemTrouble(Exception):
    """The system did not do in time what it was asked."""


@dataclass(slots=True)
class System:
    """A running system. Its data directory is `data`; `said` is the file with what `milepost up` printed."""

    data: Path
    said: Path
    process: subprocess.Popen[bytes]
    base_url: str = ""
    key: str = ""
    _commands: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def servers(self) -> dict[str, Any]:
        """What the data directory tells other commands."""
        servers: dict[str, Any] = json.loads((self.data / "servers.json").read_text("utf-8"))
        return servers

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to its database, each statement its own transaction."""
        url = self.servers["database_url"].replace("postgresql+psycopg://", "postgresql://")
        return psycopg.connect(url, autocommit=True)

    def replay(self, file: Path) -> dict[str, Any]:
        """`milepost replay`, until all is applied; returns its figures."""
        return self.end_replay(self.begin_replay(file))

    def begin_replay(self, file: Path) -> subprocess.Popen[bytes]:
        """Start `milepost replay` beside us."""
        return self.begin_command("replay", str(file))

    def end_replay(self, replaying: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait for a replay to find everything applied."""
        return self.end_command(replaying, REPLAYED_WITHIN_S)

    def begin_command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a `milepost` command beside us."""
        command = subprocess.Popen(
            milepost(*arguments, "--json", "--data-dir", str(self.data)),
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._commands.append(command)
        return command

    def end_command(self, command: subprocess.Popen[bytes], within_s: float) -> dict[str, Any]:
        """Wait for a command to end; what it found. Raises SystemTrouble with what it said if it did not end well."""
        output, trouble = command.communicate(timeout=within_s)
        if command.returncode != 0:
            said = (trouble + output).decode()[-2_000:]
            raise SystemTrouble(f"{command.args!r} ended with {command.returncode}: {said}")
        stats: dict[str, Any] = json.loads(output)
        return stats

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run a command to its end."""
        return self.end_command(self.begin_command(*arguments), CLOSED_WITHIN_S)

    def trigger(self, task: str) -> None:
        """Send a task to the workers, as beat does."""
        servers = self.servers
        settings = load_settings(database_url=servers["database_url"], redis_url=servers["redis_url"])
        with make_worker_app(settings) as app:
            app.send_task(task, expires=60.0)

    def worker_pids(self, worker: str) -> list[int]:
        """A worker and its pool processes; empty while none runs. Descendants of our supervisor only."""
        main = int(self.servers["child_pids"][worker])
        parents = parents_of_all()
        if main not in descendants(self.process.pid, parents) or not is_alive(main):
            return []
        return [main, *descendants(main, parents)]

    def kill_worker(self, worker: str) -> list[int]:
        """kill -9 of a worker and all of its processes; returns when they are gone."""
        eventually(lambda: len(self.worker_pids(worker)) > 1, f"{worker} runs", READY_WITHIN_S, SELDOM_S)
        victims = self.worker_pids(worker)
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(is_alive(pid) for pid in victims), "the killed are gone", STOP_WITHIN_S)
        return victims

    def stop(self) -> None:
        """Ctrl-C twice, since the data is not needed any more; what is left after 15 s is killed, and told of."""
        for command in self._commands:
            if command.poll() is None:
                command.kill()
                command.communicate()
        self.process.send_signal(signal.SIGINT)
        try:
            eventually(self._is_stopping, "it says that it stops", STOP_WITHIN_S)
            self.process.send_signal(signal.SIGINT)
            self.process.wait(STOP_WITHIN_S)
        except (subprocess.TimeoutExpired, SystemTrouble):
            self.process.kill()
            self.process.wait()
            end_processes(list(find_commands(self.data, MARKER)), grace_s=0)
            end_orphans(self.data)
            raise SystemTrouble(f"it did not stop within {STOP_WITHIN_S} s") from None

    def _is_stopping(self) -> bool:
        return self.process.poll() is not None or "stopping" in self.said.read_text("utf-8").splitlines()


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[System]:
    """A system in `folder` (made if need be), with settings such as MILEPOST_BATCH_EVENTS; stopped at the end."""
    folder.mkdir(mode=0o700, exist_ok=True)
    said = folder / "up.log"
    with said.open("wb") as output:
        # Spawned so that it ends with us, however we end.
        process = spawn(
            milepost("up", "--port", "0", "--data-dir", str(folder / "data")),
            death_signal=signal.SIGINT,
            cwd=folder,
            output=output,
            environment=clean_environment() | settings,
        )
    system = System(folder / "data", said, process)
    try:
        _wait_until_ready(system)
        yield system
    finally:
        system.stop()


def _wait_until_ready(system: System) -> None:
    def is_ready() -> bool:
        lines = dict(line.partition(" ")[::2] for line in system.said.read_text("utf-8").splitlines())
        if system.process.poll() is not None:
            raise SystemTrouble(f"it ended: {system.said.read_text('utf-8')}")
        system.base_url, system.key = lines.get("ready", ""), lines.get("key", "")
        return bool(system.base_url and system.key)

    eventually(is_ready, "it says that it is ready", READY_WITHIN_S, SELDOM_S)


def eventually(question: Callable[[], object], what: str, within_s: float, poll_s: float = POLL_S) -> None:
    """Ask until the answer is true; raises SystemTrouble naming `what` when it never was."""
    deadline = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline:
            raise SystemTrouble(f"waited {within_s:g} s in vain until {what}")
        time.sleep(poll_s)


def milepost(*arguments: str) -> list[str]:
    """The command line of a `milepost` command."""
    return [sys.executable, "-P", "-m", "milepost", *arguments]


def clean_environment() -> dict[str, str]:
    """Ours without Milepost's settings: they could name somebody's real servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}


def descendants(ancestor: int, parents: dict[int, int]) -> list[int]:
    """All processes below one."""
    children = [pid for pid, parent in parents.items() if parent == ancestor]
    return [found for child in children for found in (child, *descendants(child, parents))]


def parents_of_all() -> dict[int, int]:
    """pid -> pid of the parent, of all processes there are."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[1]
                )
    return parents
