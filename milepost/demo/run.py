"""The demo's process, and how the terminal of `milepost up` shows its output: it reads lines of JSON from its log.

A file and not a pipe: the process can be killed and started again, and a stalled terminal blocks nothing.
"""

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

import psycopg
import simplejson
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from core.errors import MilepostError, StreamUnavailable
from core.settings import Settings
from core.store.database import Sessions, open_sessions
from core.store.tenants import DEFAULT, read_tenants
from core.stream.stream import EventStream, connect
from milepost.cli.output import explain
from milepost.demo.fill import Filled, fill, first_day, goals_of, send
from milepost.demo.life import Life, TimedEvent
from milepost.demo.next_step import NextStep
from milepost.demo.people import PEOPLE
from milepost.demo.receiver import receiving
from milepost.demo.trickle import Trickle, ripples_of

_TENTHS = 10
_SHOWN_PERSON, _SHOWN_GOAL = "demo-ana", "Emergency fund"
_PAUSE_S, _LATER_PAUSE_S = 2.0, 10.0
_LATER_AFTER_S = 900.0

log = structlog.get_logger(__name__)
TWO_YEARS = 730


@dataclass(slots=True)
class Screen:
    """Shows the lines of `log`: progress bars on a terminal, elsewhere a line for every tenth that is done."""

    log: Path
    say: Callable[[str], None]
    _file: IO[str] | None = None
    _rest: str = ""
    _bars: Progress | None = None
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _tenths: dict[str, int] = field(default_factory=dict)

    def show_new_lines(self) -> None:
        """Show the lines that were written since the last call."""
        for line in self._new_lines():
            try:
                entry = simplejson.loads(line)
            except ValueError:
                continue  # not ours: a warning, a traceback
            if not isinstance(entry, dict):
                continue
            if "say" in entry:
                self.say(entry["say"])
            elif "what" in entry:
                self._show(entry["what"], entry["done"], entry["of"])

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _new_lines(self) -> Iterator[str]:
        if self._file is None:
            if not self.log.exists():
                return
            self._file = self.log.open(encoding="utf-8", errors="replace")
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        yield from whole

    def _show(self, what: str, done: int, total: int) -> None:
        if not total:
            return  # a demo that is started again has nothing to catch up with
        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            self._show_bar(console, what, done, total)
            return
        tenth = _TENTHS * done // total
        if tenth > self._tenths.get(what, 0):
            self.say(f"{what}: {done:,} of {total:,}")
        self._tenths[what] = tenth

    def _show_bar(self, console: Console, what: str, done: int, total: int) -> None:
        if self._bars is None:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            self._bars = Progress(*columns, console=console, auto_refresh=False)
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total, refresh=True)
        if all(task.finished for task in self._bars.tasks):
            # A bar that stays would be drawn again below every later line.
            self._bars.stop()
            self._bars = None
            self._tasks.clear()


class NotTheDemo(MilepostError):
    """The demo has no goals in this installation."""

    def __init__(self) -> None:
        super().__init__("this installation has no demo: start it with `milepost up --demo` in an empty data directory")


@dataclass(slots=True)
class DemoHost:
    """The demo of one `milepost up --demo`; `days`: how long ago the lives of a new demo begin."""

    say: Callable[[str], None]
    days: int = TWO_YEARS
    _has_demo: bool = False
    _trouble: str = ""
    _screen: Screen | None = None

    def make_goals(self, database_url: str) -> None:
        """Make the demo's goals if the installation is empty. An error is kept for `should_start`, not raised."""
        from milepost.demo.fill import make_goals
        from milepost.demo.people import PEOPLE

        try:
            with open_sessions(database_url, application_name="milepost demo") as sessions, sessions.begin() as session:
                self._has_demo = make_goals(session, PEOPLE, datetime.now(UTC), self.days)
        except Exception as error:  # noqa: BLE001  # a process edge: a demo that fails must not keep the servers from starting
            self._trouble = explain(error) or f"{type(error).__name__}: {error}".partition("\n")[0]

    @property
    def is_here(self) -> bool:
        """Whether the installation is the demo's."""
        return self._has_demo

    def should_start(self) -> bool:
        """Whether its process has anything to do; if not, the reason is reported."""
        if self._trouble:
            self.say(f"no demo: its goals could not be made: {self._trouble}")
        elif not self._has_demo:
            self.say("no demo: there is other data here, and --demo adds nothing to it; give an empty --data-dir")
        return self._has_demo

    def show(self, log: Path) -> None:
        """Show the lines of the demo's log from now on."""
        self._screen = Screen(log, self.say)

    def show_new_lines(self) -> None:
        """Show the lines that were written since the last call."""
        if self._screen is None:
            return
        try:
            self._screen.show_new_lines()
        except Exception as error:  # noqa: BLE001  # a process edge: an error in showing must not end the servers
            self._screen = None
            self.say(f"the demo goes on, but its output is no longer shown: {type(error).__name__}")

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._screen is not None:
            self._screen.close()


def log_line(line: str) -> None:
    """Write a line for the terminal into the log."""
    _log({"say": line})


def log_progress(what: str, done: int, total: int) -> None:
    """Write into the log that `done` of `total` of `what` is done."""
    _log({"what": what, "done": done, "of": total})


def _log(entry: dict[str, object]) -> None:
    # One text, since the receiver's threads write too, and print() writes the end of a line separately.
    print(simplejson.dumps(entry) + "\n", end="", flush=True)


def run(settings: Settings, api_url: str) -> None:
    """Fill the demo, and go on sending events until SIGTERM. Raises NotTheDemo, StreamUnavailable."""
    # Else TERM ends the process at once, and the endpoint of its receiver stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    assert settings.redis_url is not None, "the servers are named by now"
    stream = EventStream(connect(settings.redis_url.get_secret_value()), settings.shards, settings.stream_durability)
    with open_sessions(settings, application_name="milepost demo") as sessions:
        with sessions.begin() as session:
            begin = first_day(session)
        if begin is None:
            raise NotTheDemo
        life = Life(PEOPLE, begin)
        filled = fill(sessions, stream, life, datetime.now(UTC), log_progress)
        _say_what_next(sessions, settings, api_url, filled, begin)
        with receiving(sessions, settings, log_line):
            _trickle(sessions, stream, life)


def _trickle(sessions: Sessions, stream: EventStream, life: Life) -> None:
    trickle, began = Trickle(ripples_of(life.worths)), time.monotonic()
    next_step = NextStep(_SHOWN_PERSON, _SHOWN_GOAL)
    pending: list[TimedEvent] = []
    while True:
        now = datetime.now(UTC)
        _set(next_step, sessions, now)
        pending += life.through(now)
        try:
            send(stream, [*pending, *trickle.tick(now)])
            pending.clear()
        except StreamUnavailable as error:
            # The supervisor starts the server again; the lives' events are sent then.
            log.warning("the stream took no events, trying again", reason=str(error))
        is_fresh = time.monotonic() - began < _LATER_AFTER_S
        time.sleep(_PAUSE_S if is_fresh else _LATER_PAUSE_S)


def _set(next_step: NextStep, sessions: Sessions, now: datetime) -> None:
    try:
        with sessions.begin() as session:
            next_step.set(session, read_tenants(session, [DEFAULT])[DEFAULT], now)
    except (MilepostError, psycopg.Error) as error:
        log.info("the next step was not set, trying again", reason=str(error))


def _say_what_next(sessions: Sessions, settings: Settings, api_url: str, filled: Filled, begin: date) -> None:
    with sessions() as session:
        tenant = read_tenants(session, [DEFAULT])[DEFAULT]
        shown = goals_of(session, tenant, _SHOWN_PERSON).get(_SHOWN_GOAL)
    people = ", ".join(person.user_id for person in PEOPLE)
    folder = shlex.quote(str(settings.data_dir))
    curl = f'curl -s -H "Authorization: Bearer $(cat {shlex.quote(str(settings.data_dir / "key"))})"'
    goals = sum(len(person.goals) for person in PEOPLE)
    if filled.is_first:
        log_line(f"demo: {goals} goals of {people}, and {filled.events:,} events since {begin}")
    log_line("demo: new events come every couple of seconds; to see goals move:")
    log_line(f"  {_program()} status --watch --data-dir {folder}")
    log_line(f"  {curl} '{api_url}/goals?user_id={_SHOWN_PERSON}'")
    if shown is not None:
        log_line(f"  {curl} {api_url}/goals/{shown.goal_id}/progress")


def _program() -> str:
    """How a person at the terminal starts `milepost`."""
    return "milepost" if shutil.which("milepost") else shlex.quote(str(Path(sys.executable).with_name("milepost")))
