"""What `milepost up` does: servers, schema, first key, then api, workers and beat until asked to stop.

The steps, and what a kill -9 after each leaves behind:
1. Lock the data directory, and check that the port is free: an empty directory.
2. End what an earlier, killed run left: fewer processes.
3. Start Postgres and Valkey: both end with us (PDEATHSIG), and recover at the next start.
4. Migrate, make the first tenant and key: each is one transaction, done again at the next start.
5. Write servers.json: it counts only while the directory is locked.
6. Start api, workers, beat: each ends with us; a helper of theirs that does not is ended in step 2 of the next start.

A demo makes its goals after 4, in one transaction, and starts its process once the API answers; if that is killed, it
sends its events again, and replaces the endpoint of its receiver. With `linger_s` the supervisor also ends when nobody
has used its servers for that long, as an IdleTimer of users.py says.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from core.errors import Conflict
from core.services.keys import prepare_database
from core.settings import PREFIX, Settings
from core.store.migrate import UnknownRevision
from core.stream.stream import EventStream, connect
from milepost.demo.receiver import missing_settings
from milepost.demo.run import DemoHost
from milepost.embedded.child import MARKER, WHILE_USED, Child, StopAsked, StopRequests, stop_requests
from milepost.embedded.datadir import DataDir, RunningServers
from milepost.embedded.errors import DirectoryInUse, DirectoryOfAnotherVersion
from milepost.embedded.logs import bound_log
from milepost.embedded.orphans import end_orphans, end_processes, find_commands
from milepost.embedded.programs import claim_port
from milepost.embedded.servers import Say, Servers
from milepost.embedded.users import IdleTimer

# The processes of Milepost and the arguments of `milepost` that start them. FRONT is stopped first.
FRONT: Mapping[str, Sequence[str]] = {"api": ["api"], "beat": ["beat"]}
WORKERS: Mapping[str, Sequence[str]] = {
    "worker drains": ["worker", "--queues=drains"],
    "worker jobs": ["worker", "--queues=jobs"],
    "worker deliveries": ["worker", "--queues=deliveries"],
}
_TICK_S = 0.1
_COMPLAIN_AFTER_S = 60
# Their sum stays below the 15 s in which everything has to end.
_API_AND_BEAT_S, _WORKERS_S, _VALKEY_S, _POSTGRES_S = 3.0, 5.0, 2.0, 3.0
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(slots=True)
class Supervisor:
    """Runs one data directory; with `linger_s` as long as applications use it and that many seconds more.

    With `linger_s` its output goes to a log: it does not print the key, and ends with 0 if another one already runs.
    """

    data: DataDir
    settings: Settings
    say: Say
    demo: DemoHost | None = None
    linger_s: float | None = None
    _servers: Servers | None = None
    _front: list[Child] = field(default_factory=list)
    _workers: list[Child] = field(default_factory=list)

    def run(self) -> None:
        """Run until asked to stop; returns when every process that was started has ended."""
        with stop_requests() as requests:
            try:
                self.data = self.data.open()
                # Before the port: a second start should say who runs here, not that its port is taken.
                lock = self.data.lock(note=self._note())
            except StopAsked:
                return
            except DirectoryInUse as error:
                if self.linger_s is None:
                    raise
                self.say(f"nothing to start: {error}")
                return
            idle_timer = IdleTimer(self.data.path, self.linger_s)
            try:
                port = claim_port(self.settings.host, self.settings.port)
                self._start(port)
                self._supervise(port, idle_timer)
                self.say("nobody uses the servers, stopping")
            except StopAsked:
                self.say("stopping")
            finally:
                requests.is_stopping = True
                self._stop(requests)
                lock.release()
                # Last of all: a process that waits for this will start servers of its own.
                idle_timer.close()

    def _note(self) -> str:
        """What the error of a second start says after our pid."""
        if self.linger_s is None:
            return ""
        return f", started by an application: it ends when no application uses it, or with `kill {os.getpid()}`"

    def _start(self, port: int) -> None:
        self._end_leftovers()
        self._servers = Servers(self.data, self.settings, self.say)
        self._servers.start()
        self._publish(port)
        self.say("bringing the schema up to date")
        try:
            self._prepare_database(self._servers.database_url)
        except UnknownRevision as error:
            if self.settings.database_url is not None:
                raise
            raise DirectoryOfAnotherVersion(self.data.path, error.revision) from error
        if self.demo is not None:
            self.say("preparing the demo")
            self.demo.make_goals(self._servers.database_url)
        # An external stream server that does not answer should stop the start here, not fail in every child.
        with connect(self._servers.redis_url) as client:
            stream = EventStream(client, self.settings.shards, self.settings.stream_durability)
            stream.ping()
            stream.require_waitaof()
        self.say("starting api, workers and beat")
        environment = self._environment(port)
        self._front = [self._child(name, arguments, environment) for name, arguments in FRONT.items()]
        self._workers = [self._child(name, arguments, environment) for name, arguments in WORKERS.items()]
        for child in (*self._front, *self._workers):
            child.start()
        self._publish(port)

    def _prepare_database(self, database_url: str) -> None:
        configured_key = self.settings.bootstrap_key
        if configured_key is not None:
            prepare_database(database_url, configured_key.get_secret_value())
            # Only now: a refused key must not be the one that the next start prints.
            self.data.keep_key(configured_key.get_secret_value())
            return
        try:
            prepare_database(database_url, self.data.keep_key(None), replaces_others=False)
        except Conflict:
            self.say("the stored key is revoked, making a new one")
            prepare_database(database_url, self.data.renew_key(), replaces_others=False)

    def _supervise(self, port: int, idle_timer: IdleTimer) -> None:
        """Start again what ends, until StopAsked is raised or nobody uses it; report when the API answers."""
        url, is_ready, complain_at = self._url(port), False, time.monotonic() + _COMPLAIN_AFTER_S
        while not idle_timer.has_expired():
            if not is_ready and answers(url):
                is_ready = True
                self.say(f"ready {url}")
                if self.linger_s is None:
                    self.say(f"key {self.data.keep_key(None)}")
                self._start_demo(port)
            if not is_ready and time.monotonic() > complain_at:
                complain_at = float("inf")
                self.say(f"the API does not answer yet; its log is {self.data.logs / 'api.log'}")
            self._check(port)
            time.sleep(_TICK_S)

    def _check(self, port: int) -> None:
        assert self._servers is not None, "_start() comes first"
        self._servers.check()
        bound_log(self.data.background_log)
        restarted = [child.check(self.say) for child in (*self._front, *self._workers)]
        if self.demo is not None:
            self.demo.show_new_lines()
        if any(restarted):
            self._publish(port)

    def _start_demo(self, port: int) -> None:
        if self.demo is None or not self.demo.should_start():
            return
        child = self._child("demo", ["demo"], self._environment(port))
        child.start()
        self._front.append(child)
        self._publish(port)
        self.demo.show(child.log)

    def _stop(self, requests: StopRequests) -> None:
        self.data.withdraw()
        if self.demo is not None:
            self.demo.close()
        _end(self._front, _API_AND_BEAT_S, requests)
        _end(self._workers, _WORKERS_S, requests)
        if self._servers is not None:
            self._servers.stop_valkey(timeout_s=0.5 if requests.is_urgent else _VALKEY_S)
            self._servers.stop_postgres(timeout_s=0.5 if requests.is_urgent else _POSTGRES_S)
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        # A background supervisor that waits for our lock is not one of them.
        end_processes(list(find_commands(self.data.path, MARKER, without=WHILE_USED)), grace_s=0)
        end_orphans(self.data.path)

    def _child(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        log = self.data.logs / f"{name.replace(' ', '-')}.log"
        return Child(name, arguments, self.data.path, log, environment)

    def _environment(self, port: int) -> dict[str, str]:
        """Our environment, with the addresses of the servers: only its owner can read it, a command line anybody."""
        assert self._servers is not None, "the servers come first"
        found = {
            "DATABASE_URL": self._servers.database_url,
            "REDIS_URL": self._servers.redis_url,
            "DATA_DIR": str(self.data.path),
            "PORT": str(port),
        }
        if self.settings.secrets_key is None:
            found["SECRETS_KEY"] = self.data.keep_secrets_key()
        if self.demo is not None and self.demo.is_here:
            found |= missing_settings(self.settings)
        ours = {name: value for name, value in os.environ.items() if name != f"{PREFIX}BOOTSTRAP_KEY"}
        return {**ours, **{PREFIX + name: value for name, value in found.items()}, "PYTHONUNBUFFERED": "1"}

    def _publish(self, port: int) -> None:
        assert self._servers is not None, "the servers come first"
        pids = {child.name: child.pid for child in (*self._front, *self._workers)}
        urls = self._servers.database_url, self._servers.redis_url, self._url(port)
        self.data.publish(RunningServers(*urls, os.getpid(), pids))

    def _url(self, port: int) -> str:
        host = _ANY_HOST.get(self.settings.host, self.settings.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(url: str) -> bool:
    """Whether the API at `url` says that it is alive."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=1)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _end(children: list[Child], patience_s: float, requests: StopRequests) -> None:
    """Send TERM to each; after `patience_s`, or a second request to stop, send KILL to their process groups."""
    for child in children:
        child.ask_to_end()
    deadline = time.monotonic() + patience_s
    while not all(child.has_ended() for child in children):
        if requests.is_urgent or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for child in children:
        child.kill_group()
