"""Children that end with us, each in a session of its own, and servers: started on a port, waited for, ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from milepost.embedded import launch
from milepost.embedded.errors import ServerFailed
from milepost.embedded.programs import free_port
from milepost.embedded.trust import open_trusted

_LAUNCHER = str(Path(launch.__file__))
# Servers get none of our environment: it may contain passwords, and PG* variables would change what they do.
SERVER_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_POLL_S = 0.01
_PORT_TRIES = 5
_TAIL_BYTES = 16_384


@dataclass(slots=True)
class ServerProcess:
    """A server that we started, and the position in its log at which this run begins."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self.process.poll()

    def wait_ready(self, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Return once `is_ready`; raises ServerFailed, with an error of its log, if it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.exit_status() is not None:
                raise ServerFailed(f"{self.name} did not start: {self.error_line()}; its log is {self.log}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} was not ready within {timeout_s:.0f} s; its log is {self.log}")
            time.sleep(_POLL_S)

    def end(self, *, steps: list[tuple[signal.Signals, float]]) -> None:
        """Send each signal in turn, and wait that many seconds after it; then kill the process."""
        for number, patience_s in steps:
            self.process.send_signal(number)
            if self._ended_within(patience_s):
                return
        self.process.kill()
        self.process.wait()

    def error_line(self) -> str:
        """The line of this run's log that most likely says what is wrong."""
        lines = [line.strip() for line in self.output().splitlines() if line.strip()]
        errors = [line for line in lines if any(mark in line for mark in ("FATAL", "PANIC", "# ", "launch:"))]
        return (errors or lines or [f"it ended with status {self.exit_status()}"])[-1]

    def output(self) -> str:
        """The end of this run's part of the log."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_start, size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def _ended_within(self, timeout_s: float) -> bool:
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    cwd: Path,
    output: IO[bytes] | int,
    run_as: str = launch.AS_IS,
    environment: Mapping[str, str] = SERVER_ENVIRONMENT,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command`. It gets `death_signal` when the calling thread ends, so call this from the main thread."""
    launcher = [sys.executable, "-I", "-S", _LAUNCHER, str(int(death_signal)), str(os.getpid()), run_as]
    return subprocess.Popen(
        [*launcher, *command],
        cwd=cwd,
        env=dict(environment),
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """Ask a child to end, and kill it if it has not ended after `grace_s`."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_listening(
    start: Callable[[int], ServerProcess],
    is_ready: Callable[[ServerProcess, int], bool],
    *,
    port: int | None,
    timeout_s: float,
) -> tuple[ServerProcess, int]:
    """Start a server on `port`, or on a free one if None, and wait until it is ready; returns it with its port."""
    for _ in range(_PORT_TRIES):
        chosen = port or free_port()
        server = start(chosen)
        try:
            server.wait_ready(partial(is_ready, server, chosen), timeout_s=timeout_s)
        except ServerFailed as error:
            # Another process may have taken the free port in the meantime; a port that was asked for is not replaced.
            if port or "Address already in use" not in server.output():
                raise
            failure = error
        else:
            return server, chosen
    raise failure


def open_log(path: Path) -> tuple[IO[bytes], int]:
    """Open a log for appending, readable only by its owner; also returns its present size."""
    descriptor = open_trusted(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return os.fdopen(descriptor, "ab", buffering=0), os.fstat(descriptor).st_size
