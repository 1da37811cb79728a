"""The demo's process: it fills, says what to look at, and lets events trickle until it is ended.

What it was doing when it was killed it begins again: events that are told twice change nothing.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import structlog
from sqlalchemy.orm import Session, sessionmaker

from core.errors import MilepostError, StreamUnavailable
from core.settings import Settings
from core.store.engine import make_engine, session_factory
from core.store.stream import EventStream, connect
from core.store.tenants import DEFAULT, read_tenants
from milepost.demo.fill import Filled, fill, goals_of, send
from milepost.demo.life import Life, Telling
from milepost.demo.people import PEOPLE
from milepost.demo.plant import first_day
from milepost.demo.telling import tell, tell_progress
from milepost.demo.trickle import Trickle, ripples_of

_SHOWN_PERSON, _SHOWN_GOAL = "demo-ana", "Emergency fund"
_PAUSE_S, _LATER_PAUSE_S = 2.0, 10.0
_LATER_AFTER_S = 900.0

log = structlog.get_logger(__name__)


class NotTheDemo(MilepostError):
    """The demo has no goals in this installation."""

    def __init__(self) -> None:
        super().__init__("this installation has no demo: start it with `milepost up --demo` in an empty data directory")


def run(settings: Settings, api_url: str) -> None:
    """Fill the demo and keep it moving; never returns. Raises NotTheDemo, StreamUnavailable."""
    assert settings.redis_url is not None, "the servers are named by now"
    stream = EventStream(connect(settings.redis_url.get_secret_value()), settings.shards, settings.stream_durability)
    with _sessions(settings) as sessions:
        with sessions.begin() as session:
            begin = first_day(session)
        if begin is None:
            raise NotTheDemo
        life = Life(PEOPLE, begin)
        filled = fill(sessions, stream, life, datetime.now(UTC), tell_progress)
        _say_what_next(sessions, settings, api_url, filled, begin)
    _trickle(stream, life)


def _trickle(stream: EventStream, life: Life) -> None:
    trickle, began = Trickle(ripples_of(life.worths)), time.monotonic()
    of_lives: list[Telling] = []
    while True:
        now = datetime.now(UTC)
        of_lives += life.through(now)
        try:
            send(stream, [*of_lives, *trickle.tick(now)])
            of_lives.clear()
        except StreamUnavailable as error:
            # The supervisor starts the server again; the lives' events are told then.
            log.warning("the stream took no events, trying again", reason=str(error))
        is_fresh = time.monotonic() - began < _LATER_AFTER_S
        time.sleep(_PAUSE_S if is_fresh else _LATER_PAUSE_S)


def _say_what_next(
    sessions: sessionmaker[Session], settings: Settings, api_url: str, filled: Filled, begin: date
) -> None:
    with sessions() as session:
        tenant = read_tenants(session, [DEFAULT])[DEFAULT]
        shown = goals_of(session, tenant, _SHOWN_PERSON).get(_SHOWN_GOAL)
    people = ", ".join(person.user_id for person in PEOPLE)
    folder = shlex.quote(str(settings.data_dir))
    curl = f'curl -s -H "Authorization: Bearer $(cat {shlex.quote(str(settings.data_dir / "key"))})"'
    goals = sum(len(person.goals) for person in PEOPLE)
    if filled.is_first:
        tell(f"demo: {goals} goals of {people}, and {filled.events:,} events since {begin}")
    tell("demo: new events come every couple of seconds; to see goals move:")
    tell(f"  {_program()} status --watch --data-dir {folder}")
    tell(f"  {curl} '{api_url}/goals?user_id={_SHOWN_PERSON}'")
    if shown is not None:
        tell(f"  {curl} {api_url}/goals/{shown.goal_id}/progress")


def _program() -> str:
    """How a person at the terminal calls `milepost`."""
    return "milepost" if shutil.which("milepost") else shlex.quote(str(Path(sys.executable).with_name("milepost")))


@contextmanager
def _sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    engine = make_engine(settings, application_name="milepost demo")
    try:
        yield session_factory(engine)
    finally:
        engine.dispose()
