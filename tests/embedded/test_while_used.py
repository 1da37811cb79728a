"""Servers that an application starts: shared by all applications, stopped after the last of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from core.settings import Settings, load_settings
from milepost.embedded.autostart import Use, use_servers
from milepost.embedded.datadir import DataDir, is_locked
from milepost.embedded.errors import DirectoryUnusable, ServerFailed
from tests.embedded.test_up import Up, milepost

Eventually = Callable[[Callable[[], object], float], bool]
Processes = Callable[[Path], list[int]]
KEY = "a-key-of-my-own-choice"
LINGER_S = 0.5
# Several times that.
A_WHILE_S = 2.0
ENDS_WITHIN_S = 20
READY_WITHIN_S = 60

# Waits for a line, then uses the servers from two threads; answers each further line by a query of the database.
APPLICATION = """
import sys
from concurrent.futures import ThreadPoolExecutor
import psycopg
from core.settings import load_settings
from milepost.embedded.autostart import use_servers
settings = load_settings(data_dir=sys.argv[1])
print("here", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(2) as threads:
    begin = lambda _: use_servers(settings, say=lambda line: None, linger_s=float(sys.argv[2]))
    uses = list(threads.map(begin, range(2)))
print(*(use.running.supervisor_pid for use in uses), flush=True)
for line in sys.stdin:
    with psycopg.connect(uses[0].database_url.replace("+psycopg", "")) as connection:
        print(*connection.execute("SELECT tenant FROM tenants").fetchone(), flush=True)
"""


@dataclass
class Application:
    """A process of its own that uses the servers of a directory."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, directory: Path, **settings: str) -> Application:
        command = [sys.executable, "-W", "error", "-c", APPLICATION, str(directory), str(LINGER_S)]
        pipe = subprocess.PIPE
        environment = {**os.environ, **settings}
        return cls(
            subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
            )
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def begin(self) -> int:
        """Use the servers; returns the one supervisor of all threads."""
        self.say("begin")
        return self.supervisor()

    def supervisor(self) -> int:
        [pid] = set(self.read_line().split())
        return int(pid)

    def look(self) -> str:
        self.say("look")
        return self.read_line()

    def leave(self) -> tuple[int, str]:
        """End it normally; returns the status and its standard error."""
        _, errors = self.process.communicate(timeout=READY_WITHIN_S)
        return self.process.returncode, errors

    def kill(self) -> None:
        """kill -9 of it and all that are in its group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


Start = Callable[..., Application]


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts applications on `place`/data, which wait for their first line."""
    with ExitStack() as stack:

        def start_one(**settings: str) -> Application:
            application = Application.start(place / "data", **settings)
            stack.callback(application.process.communicate)
            stack.callback(application.process.kill)
            assert application.read_line() == "here"
            return application

        yield start_one


def settings_for(place: Path, **overrides: Any) -> Settings:
    return load_settings(data_dir=place / "data", **overrides)


def use(place: Path, said: list[str] | None = None, **overrides: Any) -> Use:
    """Use the servers from this process."""
    say = [].append if said is None else said.append
    return use_servers(settings_for(place, **overrides), say=say, linger_s=LINGER_S)


def log_of(place: Path) -> str:
    return DataDir(place / "data").background_log.read_text()


def execute(use: Use, statement: bytes) -> list[Any]:
    with psycopg.connect(use.database_url.replace("+psycopg", "")) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = milepost(*arguments, "--data-dir", str(place / "data"))
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=READY_WITHIN_S, check=False)


def is_gone(pid: int) -> bool:
    """Whether there is no such process, not even one that was not reaped."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_two_that_begin_at_once_share_one_supervisor_and_either_goes_on_without_the_other(
    place: Path, start: Start, processes_in: Processes, eventually: Eventually
) -> None:
    """Two processes of two threads each, all at the same moment, get the same servers, and none prints anything.

    kill -9 of one leaves the other its servers; after the last nothing runs any more.
    """
    first, second = start(), start()
    for each in (first, second):
        each.say("begin")
    supervisor = first.supervisor()
    assert second.supervisor() == supervisor
    assert [each.look() for each in (first, second)] == ["default", "default"]
    first.kill()
    assert not eventually(lambda: supervisor not in processes_in(place), A_WHILE_S)
    assert second.look() == "default"
    assert second.leave() == (0, "")
    assert eventually(lambda: not processes_in(place), ENDS_WITHIN_S), log_of(place)
    assert log_of(place).count("nobody uses the servers, stopping") == 1
    assert not (place / "data" / "servers.json").exists()


def test_a_user_that_comes_while_they_stop_gets_new_ones(place: Path, eventually: Eventually) -> None:
    """A user that comes while unused servers are stopping waits for their end, and finds all in the next ones."""
    before = use(place)
    execute(before, b"CREATE TABLE notes AS SELECT 1 AS n")
    with redis.Redis.from_url(before.redis_url) as client:
        client.set("note", "2")
    before.close()
    supervisor = before.running.supervisor_pid
    assert eventually(lambda: not (place / "data" / "servers.json").exists(), ENDS_WITHIN_S)
    # Stopped in the middle of stopping, until the other user has come.
    os.kill(supervisor, signal.SIGSTOP)
    said: list[str] = []
    found: list[Use] = []
    newcomer = threading.Thread(target=lambda: found.append(use(place, said)))
    newcomer.start()
    assert eventually(lambda: said == ["waiting for the servers that are stopping"], 10), said
    assert is_locked(place / "data")
    os.kill(supervisor, signal.SIGCONT)
    newcomer.join(READY_WITHIN_S)
    [after] = found
    assert after.running.supervisor_pid != supervisor
    assert eventually(lambda: is_gone(supervisor), 5)
    assert execute(after, b"SELECT n FROM notes") == [(1,)]
    with redis.Redis.from_url(after.redis_url) as client:
        assert client.get("note") == b"2"
    after.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_when_somebody_stops_them_the_next_use_starts_others(
    place: Path, eventually: Eventually, how: signal.Signals
) -> None:
    """Servers that were stopped while in use leave no zombie, and the next use gets new ones with the same data."""
    before = use(place)
    execute(before, b"CREATE TABLE notes AS SELECT 1 AS n")
    os.kill(before.running.supervisor_pid, how)
    assert eventually(lambda: DataDir(place / "data").servers() is None, 5)
    before.close()
    after = use(place)
    assert eventually(lambda: is_gone(before.running.supervisor_pid), 5)
    assert execute(after, b"SELECT n FROM notes") == [(1,)]
    after.close()


def test_those_of_a_person_are_used_and_go_on(place: Path, start: Start, eventually: Eventually) -> None:
    """An application uses what `milepost up` runs, and leaves it running; once that is stopped it starts its own."""
    up = Up.start(place / "data")
    application, here = start(), use(place)
    assert application.begin() == here.running.supervisor_pid == up.process.pid
    assert application.leave() == (0, "")
    here.close()
    assert not eventually(lambda: up.process.poll() is not None, A_WHILE_S)
    assert up.ask("GET", "/goals") == (200, [])
    again = use(place)
    assert up.end() == 0
    again.close()
    own = use(place)
    assert own.running.supervisor_pid != up.process.pid
    own.close()


def test_commands_find_them_and_a_second_start_names_them(
    place: Path, eventually: Eventually, processes_in: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status`, `keys` and `verify` work with them; `milepost up` says who started them and how to end them.

    The first key, given by the environment, works; like the passwords, it is in no log and in no process list.
    """
    monkeypatch.setenv("MILEPOST_BOOTSTRAP_KEY", KEY)
    used = use(place)
    pid = used.running.supervisor_pid
    assert eventually(lambda: " ready http" in log_of(place), READY_WITHIN_S)
    assert run(place, "status").returncode == 0
    created = run(place, "keys", "create", "--scope", "goals:read")
    assert created.returncode == 0
    assert answers(used, created.stdout.strip()) == (200, [])
    assert run(place, "verify").returncode == 0
    assert (place / "data" / "key").read_text() == f"{KEY}\n"
    assert answers(used, KEY) == (200, [])
    passwords = [(place / "data" / name / "password").read_text().strip() for name in ("postgres", "valkey")]
    commands = [(Path("/proc") / str(each) / "cmdline").read_bytes().decode() for each in processes_in(place)]
    logs = [path.read_text() for path in (place / "data" / "logs").iterdir()]
    assert pid in processes_in(place)
    assert [secret for secret in (KEY, *passwords) if secret in "".join(commands + logs)] == []
    holder = f"process {pid}, started by an application: it ends when no application uses it, or with `kill {pid}`"
    todo = "end that one first, or choose another directory with --data-dir"
    second = run(place, "up")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"milepost: {place / 'data'} is in use by {holder}; {todo}\n"
    assert f"runs here as {holder}" in run(place, "doctor").stdout
    used.close()


def answers(used: Use, key: str) -> tuple[int, Any]:
    connection = HTTPConnection(used.running.api_url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", "/goals", headers={"Authorization": f"Bearer {key}"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def test_one_that_nobody_ever_uses_ends(place: Path, processes_in: Processes) -> None:
    """A supervisor whose application died at once ends by itself, and so do the servers."""
    done = run(place, "up", "--while-used", "--linger-s", "0.1", "--port", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("nobody uses the servers, stopping\n")
    assert processes_in(place) == []


def test_an_external_server_is_used(place: Path, database_url: str) -> None:
    """A database that the settings name, and the environment does not, is what the workers use; none is made."""
    used = use(place, database_url=database_url)
    assert used.database_url == database_url
    assert not (place / "data" / "postgres").exists()
    with redis.Redis.from_url(used.redis_url) as client:
        assert client.ping()
    with pytest.raises(ServerFailed, match="uses another server than MILEPOST_REDIS_URL names"):
        use(place, redis_url="redis://127.0.0.1:1/0")
    os.kill(used.running.supervisor_pid, signal.SIGTERM)
    used.close()


def test_a_start_that_fails_is_reported_in_a_line(place: Path, eventually: Eventually, processes_in: Processes) -> None:
    """The error's text is the last line of `milepost up`, with the path of its log; nothing is left running."""
    log = DataDir(place / "data").background_log
    with pytest.raises(ServerFailed) as found:
        use(place, redis_url="redis://127.0.0.1:1/0")
    said = f"the servers did not start: the stream server does not answer (more in {log})"
    assert str(found.value) == said
    assert eventually(lambda: not processes_in(place), ENDS_WITHIN_S)
    use(place).close()


def test_a_folder_that_cannot_be_used_is_reported(place: Path) -> None:
    """A file instead of a data directory is refused at once in one line."""
    (place / "data").write_text("dear")
    with pytest.raises(DirectoryUnusable, match=rf"^cannot use {place / 'data'}: File exists$"):
        use(place)


def test_a_wait_has_an_end(place: Path) -> None:
    """If another process locks the directory and never has servers, the wait ends with an error."""
    data = DataDir(place / "data").open()
    lock = data.lock()
    with pytest.raises(ServerFailed, match=rf"^still no servers in {data.path} after 1 s \(more in "):
        use_servers(settings_for(place), say=[].append, timeout_s=0.6)
    lock.release()
