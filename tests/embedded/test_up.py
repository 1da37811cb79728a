"""`milepost up` as a user sees it: one command, real processes, Ctrl-C, kill -9, and again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from milepost.embedded.datadir import DataDir

Question = Callable[[], object]
STOP_WITHIN_S = 15
READY_WITHIN_S = 60
GOAL = {"user_id": "u1", "name": "Emergency Fund", "type": "savings", "target_amount": 100, "currency": "USD"}


def milepost(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "milepost", *arguments]


@dataclass
class Up:
    """A running `milepost up`, and what it has printed."""

    directory: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, directory: Path, **settings: str) -> Up:
        command = milepost("up", "--port", "0", "--data-dir", str(directory))
        environment = {**os.environ, **settings}
        process = subprocess.Popen(
            command, cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        up = cls(directory, process)
        up.read_to("key ")
        return up

    def read_to(self, beginning: str, *, since: int | None = None) -> str:
        """The next line that begins with this, after `since` lines if given; the lines before it are in `lines`.

        If it does not come in time the process is killed.
        """
        for line in [] if since is None else self.lines[since:]:
            if line.startswith(beginning):
                return line
        assert self.process.stdout is not None
        is_late = threading.Timer(READY_WITHIN_S, self.process.kill)
        is_late.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))
                if line.startswith(beginning):
                    return self.lines[-1]
        finally:
            is_late.cancel()
        raise AssertionError(f"it ended without saying {beginning!r}: {self.lines}")

    @property
    def port(self) -> int:
        return int(next(line for line in self.lines if line.startswith("ready ")).rpartition(":")[2])

    @property
    def key(self) -> str:
        return next(line for line in self.lines if line.startswith("key ")).removeprefix("key ")

    def ask(self, method: str, path: str, body: object = None, *, key: str | None = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read() or b"null")
        finally:
            connection.close()

    def end(self, asked: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(asked)
        self.process.communicate(timeout=STOP_WITHIN_S)
        return self.process.returncode


def kill_all(up: Up, processes: Callable[[Path], list[int]]) -> None:
    """kill -9 of the supervisor and everything that works for it, all at once."""
    victims = [up.process.pid, *processes(up.directory)]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    up.process.communicate()


PRIVATE = ("key", "secrets_key", "servers.json")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One `milepost up` for the tests that change nothing."""
    up = Up.start(tmp_path_factory.mktemp("up") / "data")
    yield up
    assert up.end(signal.SIGTERM) == 0


def test_it_prints_where_it_is_and_the_key(running: Up) -> None:
    """The line `ready URL` is followed by the line with the key, and both work."""
    *_, ready, key = running.lines
    assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+", ready)
    assert re.fullmatch(r"key \S{20,}", key)
    assert running.ask("GET", "/goals") == (200, [])
    assert running.ask("GET", "/goals", key="mp_wrong")[0] == 401


def test_others_can_read_nothing(running: Up) -> None:
    """Others can read neither the data directory nor, by their own modes, the files with secrets."""
    modes = {name: stat.S_IMODE((running.directory / name).stat().st_mode) for name in (".", *PRIVATE)}
    assert modes == {".": 0o700} | dict.fromkeys(PRIVATE, 0o600)


def test_no_password_is_on_a_command_line(running: Up, processes_in: Callable[[Path], list[int]]) -> None:
    """Neither the passwords of the servers nor the key show in a process list."""
    secrets = [
        running.key,
        (running.directory / "secrets_key").read_text().strip(),
        *((running.directory / name / "password").read_text().strip() for name in ("postgres", "valkey")),
    ]
    pids = [running.process.pid, *processes_in(running.directory)]
    lines = b"".join((Path("/proc") / str(pid) / "cmdline").read_bytes() for pid in pids).decode()
    assert "--queues=drains" in lines
    assert [secret for secret in secrets if secret in lines] == []


def test_a_second_start_names_the_first(running: Up) -> None:
    """A second `milepost up` on the directory fails in one line that names the first."""
    command = milepost("up", "--port", "0", "--data-dir", str(running.directory))
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    in_use = f"milepost: {running.directory} is in use by process {running.process.pid}"
    assert second.stderr == f"{in_use}; end that one first, or choose another directory with --data-dir\n"


def test_a_second_start_on_the_same_port_names_the_first(running: Up) -> None:
    """The usual second start, with directory and port of the first, names the first and not the port."""
    command = milepost("up", "--port", str(running.port), "--data-dir", str(running.directory))
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    in_use = f"milepost: {running.directory} is in use by process {running.process.pid}"
    assert second.stderr == f"{in_use}; end that one first, or choose another directory with --data-dir\n"


def test_status_finds_it(running: Up) -> None:
    """`milepost status --json` finds the servers through the data directory alone and reports that all is well."""
    command = milepost("status", "--json", "--data-dir", str(running.directory))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["schema_is_current"] is True
    assert [shard["shard"] for shard in found["shards"]] == [0, 1]
    assert sorted(found["processes"]) == ["api", "beat", "worker deliveries", "worker drains", "worker jobs"]
    assert found["processes"]["api"] == f"answers at http://127.0.0.1:{running.port}"


def test_what_ends_is_started_again(running: Up, eventually: Callable[[Question, float], bool]) -> None:
    """A killed process is reported in a line and started again, and the servers keep their addresses."""
    before = json.loads((running.directory / "servers.json").read_text())
    postmaster = int((running.directory / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    printed = len(running.lines)
    for pid in (before["child_pids"]["worker drains"], postmaster):
        os.kill(pid, signal.SIGKILL)
    # Either may be printed first.
    for name in ("PostgreSQL", "worker drains"):
        assert "(signal SIGKILL), starting it again" in running.read_to(f"{name} ended", since=printed)

    def is_whole() -> bool:
        after = json.loads((running.directory / "servers.json").read_text())
        same = all(after[name] == before[name] for name in ("database_url", "redis_url", "api_url"))
        return same and after["child_pids"]["worker drains"] != before["child_pids"]["worker drains"]

    assert eventually(is_whole, 10)
    assert eventually(lambda: running.ask("GET", "/goals")[0] == 200, 15)


def test_ctrl_c_ends_everything_and_the_data_stays(place: Path, processes_in: Callable[[Path], list[int]]) -> None:
    """Ctrl-C ends every process within 15 s, a second one at once; a start in between has the goal and the key."""
    up = Up.start(place / "data", MILEPOST_BOOTSTRAP_KEY="a-key-of-my-own-choice")
    assert up.key == "a-key-of-my-own-choice"
    status, goal = up.ask("POST", "/goals", GOAL)
    assert status == 201
    assert up.end(signal.SIGINT) == 0
    assert processes_in(place) == []
    assert not (place / "data" / "servers.json").exists()
    again = Up.start(place / "data")
    assert again.key == up.key
    assert again.ask("GET", f"/goals/{goal['id']}") == (200, goal)
    again.process.send_signal(signal.SIGINT)
    assert again.read_to("stopping")
    assert again.end(signal.SIGINT) == 0
    assert processes_in(place) == []


def test_a_folder_of_other_things_is_left_alone(place: Path) -> None:
    """A data directory that contains other files and is open to others is refused, and stays as it is."""
    (place / "mine").mkdir(mode=0o755)
    (place / "mine" / "letter").write_text("dear")
    command = milepost("up", "--port", "0", "--data-dir", str(place / "mine"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds other things" in done.stderr
    assert [path.name for path in (place / "mine").iterdir()] == ["letter"]
    assert stat.S_IMODE((place / "mine").stat().st_mode) == 0o755


def test_a_taken_port_is_named_before_anything_starts(place: Path) -> None:
    """A port that somebody listens on is an error that names it, no server is made, and the directory is free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = milepost("up", "--port", str(port), "--data-dir", str(place / "data"))
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"milepost: port {port} on 127.0.0.1 is taken")
    assert not (place / "data" / "postgres").exists()
    assert not (place / "data" / "valkey").exists()
    DataDir(place / "data").lock().release()


def test_what_was_accepted_survives_killing_everything(
    place: Path, processes_in: Callable[[Path], list[int]], eventually: Callable[[Question, float], bool]
) -> None:
    """kill -9 of everything right after a 202: the next start needs no help, and the event is applied, once.

    After kill -9 of the supervisor nothing survives.
    """
    up = Up.start(place / "data")
    _, goal = up.ask("POST", "/goals", GOAL)
    assert up.ask("POST", f"/goals/{goal['id']}/funding", {"account_id": "a", "allocation_percent": 50})[0] == 201
    now = datetime.now(UTC).isoformat()
    spent = {"account_id": "a", "transaction_id": "t", "amount": "12.34", "currency": "USD", "posted_at": now}
    envelope = {"specversion": "1.0", "source": "test", "type": "milepost.transaction.recorded", "time": now}
    for name in ("t1", "t2", "t3"):
        event = {**envelope, "id": name, "data": {**spent, "transaction_id": name}}
        assert up.ask("POST", "/events", event) == (202, {"accepted": 1})
    kill_all(up, processes_in)
    again = Up.start(place / "data")
    assert eventually(lambda: again.ask("GET", f"/goals/{goal['id']}")[1]["current_amount"] == 18.51, 15)
    assert again.ask("POST", "/events", event) == (202, {"accepted": 1})
    later = {**envelope, "id": "t4", "data": {**spent, "transaction_id": "t4"}}
    assert again.ask("POST", "/events", later) == (202, {"accepted": 1})
    assert eventually(lambda: again.ask("GET", f"/goals/{goal['id']}")[1]["current_amount"] == 24.68, 15)
    again.process.kill()
    assert eventually(lambda: not processes_in(place), 5), processes_in(place)
    again.process.communicate()


def test_an_external_stream_server_that_does_not_answer_stops_the_start(place: Path) -> None:
    """It says so in one line and ends, before any child is started."""
    environment = {**os.environ, "MILEPOST_REDIS_URL": "redis://127.0.0.1:1/0"}
    command = milepost("up", "--port", "0", "--data-dir", str(place / "data"))
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=READY_WITHIN_S, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "milepost: the stream server does not answer"
    assert "ready" not in ended.stdout
