"""How the demo's process tells the terminal of `milepost up` what it does: lines of JSON in its log.

A file, and no pipe: the process can be killed and started again, and a terminal that stalls holds up nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_TENTHS = 10


def tell(line: str) -> None:
    """Have a line said."""
    print(json.dumps({"say": line}), flush=True)


def tell_progress(what: str, done: int, total: int) -> None:
    """Have the bar of `what` stand at `done` of `total`."""
    print(json.dumps({"what": what, "done": done, "of": total}), flush=True)


@dataclass(slots=True)
class Screen:
    """Shows what is told in `log`: bars on a terminal, elsewhere a line for every tenth that is done."""

    log: Path
    say: Callable[[str], None]
    _file: IO[str] | None = None
    _rest: str = ""
    _bars: Progress | None = None
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _tenths: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """Show what was told since the last look."""
        for line in self._new_lines():
            try:
                told = json.loads(line)
            except ValueError:
                continue  # no telling: a warning, a traceback
            if not isinstance(told, dict):
                continue
            if "say" in told:
                self.say(told["say"])
            elif "what" in told:
                self._show(told["what"], told["done"], told["of"])

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
        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            self._show_bar(console, what, done, total)
            return
        tenth = _TENTHS * done // total if total else _TENTHS
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
