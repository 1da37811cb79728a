"""The demo as the supervisor sees it: planted before the API answers, shown while its process tells.

Planted that early, nobody can have put other goals into an empty installation between the look and the planting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.store.engine import make_engine, session_factory
from milepost.cli.edge import explain
from milepost.demo.telling import Screen

TWO_YEARS = 730


@dataclass(slots=True)
class DemoHost:
    """The demo of one `milepost up --demo`; `days` is how long ago its lives begin if it is new."""

    say: Callable[[str], None]
    days: int = TWO_YEARS
    _is_planted: bool = False
    _trouble: str = ""
    _screen: Screen | None = None

    def plant(self, database_url: str) -> None:
        """Make the goals unless they are there; nothing in what is neither empty nor the demo's."""
        from milepost.demo.people import PEOPLE
        from milepost.demo.plant import plant

        engine = make_engine(database_url, application_name="milepost demo")
        try:
            with session_factory(engine).begin() as session:
                self._is_planted = plant(session, PEOPLE, datetime.now(UTC), self.days)
        except Exception as error:  # noqa: BLE001  # an edge: a demo that fails must not keep the servers from starting
            self._trouble = explain(error) or f"{type(error).__name__}: {error}".partition("\n")[0]
        finally:
            engine.dispose()

    def may_begin(self) -> bool:
        """Whether its process has anything to do; says why not."""
        if self._trouble:
            self.say(f"no demo: its goals could not be made: {self._trouble}")
        elif not self._is_planted:
            self.say("no demo: there is other data here, and --demo adds nothing to it; give an empty --data-dir")
        return self._is_planted

    def show(self, log: Path) -> None:
        """Show from now on what the demo's process tells in its log."""
        self._screen = Screen(log, self.say)

    def look(self) -> None:
        """Show what it has told since the last look."""
        if self._screen is None:
            return
        try:
            self._screen.look()
        except Exception as error:  # noqa: BLE001  # an edge: what cannot be shown must not end the servers
            self._screen = None
            self.say(f"the demo goes on unseen: {type(error).__name__}")

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._screen is not None:
            self._screen.close()
