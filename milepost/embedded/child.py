"""One Milepost process under the supervisor: started, started again when it ends, ended with its group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from milepost.embedded.logs import LogReader, begin_log, bound_log
from milepost.embedded.process import open_log, spawn

# What marks our children among all processes that work in the data directory.
MARKER = ("-P", "-m", "milepost")
# What tells a supervisor in the background from them: it works there, too, even while another one has the lock.
WHILE_USED = "--while-used"
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_STABLE_S = 30.0
# One that ran well and was killed has nothing wrong with it: what it does must not stop for long.
_RAN_WELL_S = 5.0
_LONGEST_WAIT_AFTER_RUN_S = 2.0
_COMPLAIN_AFTER = 3
_ASKS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Child:
    """`python -P -m milepost ARGUMENTS`, working in `folder`, writing to `log`."""

    name: str
    arguments: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str]
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _start_again_at: float = 0.0
    _failures: int = 0
    _reader: LogReader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = LogReader(self.log)

    @property
    def command(self) -> list[str]:
        """What is run."""
        # -P: a folder or file named like one of our packages in the data directory must not be imported.
        return [sys.executable, *MARKER, *self.arguments]

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def begin(self) -> None:
        """Start for the first time, with a fresh log."""
        begin_log(self.log)
        self._start()

    def look(self, say: Callable[[str], None]) -> bool:
        """Report what is new, start again what has ended; returns whether the process is another one now."""
        bound_log(self.log)
        for line in self._reader.news():
            say(f"{self.name}: {line}")
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process.returncode, say)
        if self._process is None and time.monotonic() >= self._start_again_at:
            self._start()
            return True
        return False

    def ask_to_end(self) -> None:
        """Send TERM to the process itself, which ends its own helpers in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill_group(self) -> None:
        """End whatever is left of the process and its helpers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _start(self) -> None:
        output, _ = open_log(self.log)
        with output:
            self._process = spawn(
                self.command,
                death_signal=signal.SIGKILL,
                cwd=self.folder,
                output=output,
                environment=self.environment,
            )
        self._started_at = time.monotonic()

    def _note_end(self, status: int, say: Callable[[str], None]) -> None:
        self.kill_group()
        self._process = None
        now = time.monotonic()
        lived_s = now - self._started_at
        self._failures = 1 if lived_s > _STABLE_S else self._failures + 1
        longest_s = _LONGEST_WAIT_AFTER_RUN_S if lived_s >= _RAN_WELL_S else _LONGEST_WAIT_S
        wait_s = min(_FIRST_WAIT_S * 2 ** (self._failures - 1), longest_s)
        self._start_again_at = now + wait_s
        say(f"{self.name} ended ({describe_status(status)}), starting it again in {wait_s:g} s")
        if self._failures % _COMPLAIN_AFTER == 0:
            say(f"{self.name} keeps ending; its log is {self.log} and ends with: {self._reader.last_line()}")


class StopAsked(BaseException):
    """Raised in the main thread, once, at the first request to stop; like KeyboardInterrupt, no error."""


@dataclass(slots=True)
class StopRequests:
    """How often a stop was asked for; `is_stopping`: what is asked from now on must not break into the stop."""

    count: int = 0
    is_stopping: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether somebody asked again."""
        return self.count > 1

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1 and not self.is_stopping:
            raise StopAsked


def describe_status(status: int) -> str:
    """An exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Listen for INT, TERM and HUP; the first raises StopAsked in the main thread, later ones count."""
    requests = StopRequests()
    # Under nohup a hang-up is ignored, and stays so; INT and TERM are listened for even where a shell ignores them.
    asks = [number for number in _ASKS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, requests._note) for number in asks}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def children_of(pid: int) -> list[int]:
    """The processes that `pid` has started and that live, in order of their ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Of the state, the parent and what follows: the name before them may hold anything, brackets too.
            state, parent = path.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            if int(parent) == pid and state not in {"Z", "X"}:
                found.append(int(path.parent.name))
    return sorted(found)


def send(pid: int, what: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True
