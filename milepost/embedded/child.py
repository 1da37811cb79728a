"""One Milepost process under the supervisor: started, started again after it ends, ended with its process group."""

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

from milepost.embedded.logs import LogReader, bound_log, rotate_log
from milepost.embedded.process import open_log, spawn

# The arguments by which our children are found among all processes that work in the data directory.
MARKER = ("-P", "-m", "milepost")
# The argument by which a background supervisor differs from them: it works there, too, even if another one runs.
WHILE_USED = "--while-used"
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_STABLE_S = 30.0
# A process that ran this long and was killed is not broken: it is started again soon.
_RAN_WELL_S = 5.0
_LONGEST_WAIT_AFTER_RUN_S = 2.0
_FAILURES_TO_REPORT = 3
_AGAIN_S = 0.02
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        """The command line of the process."""
        # -P: a folder or file named like one of our packages in the data directory must not be imported.
        return [sys.executable, *MARKER, *self.arguments]

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start for the first time, with an empty log."""
        rotate_log(self.log)
        self._spawn()

    def check(self, say: Callable[[str], None]) -> bool:
        """Report new warnings, and start the process again if it has ended; returns whether it was started."""
        bound_log(self.log)
        for line in self._reader.new_warnings():
            say(f"{self.name}: {line}")
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process.returncode, say)
        if self._process is None and time.monotonic() >= self._start_again_at:
            self._spawn()
            return True
        return False

    def ask_to_end(self) -> None:
        """Send TERM to the process itself, which then ends its own helpers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill_group(self) -> None:
        """Kill what is left of the process and its helpers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _spawn(self) -> None:
        output, _ = open_log(self.log)
        with output:
            self._process = spawn(
                self.command, death_signal=signal.SIGKILL, cwd=self.folder, output=output, environment=self.environment
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
        if self._failures % _FAILURES_TO_REPORT == 0:
            say(f"{self.name} keeps ending; its log is {self.log} and ends with: {self._reader.last_line()}")


class StopAsked(BaseException):
    """Raised in the main thread, once, at the first request to stop; like KeyboardInterrupt it is no error."""


@dataclass(slots=True)
class StopRequests:
    """How often a stop was requested. Once `is_stopping` is set, a request no longer raises StopAsked."""

    count: int = 0
    is_stopping: bool = False
    _is_raised: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether a stop was requested more than once."""
        return self.count > 1

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += number != signal.SIGALRM
        if self._is_raised or self.is_stopping:
            return
        if _is_finalizing(frame):
            # Python drops what is raised there, and with it the request. So it is raised a moment later.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            return
        self._is_raised = True
        raise StopAsked


def _is_finalizing(frame: FrameType | None) -> bool:
    """Whether an object is being finalized."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def describe_status(status: int) -> str:
    """An exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Handle INT, TERM and HUP; the first raises StopAsked in the main thread, later ones are counted."""
    requests = StopRequests()
    # Under nohup HUP is ignored, and stays so; INT and TERM are handled even if a shell has set them to be ignored.
    handled = [
        number for number in _STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, requests._note) for number in (*handled, signal.SIGALRM)}
    try:
        yield requests
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
