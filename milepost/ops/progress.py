"""The progress of a measurement on a console: one line for each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Reached = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Steps on a console."""

    progress: Progress

    @classmethod
    @contextmanager
    def on(cls, console: Console) -> Iterator[StepProgress]:
        """Show steps on `console` while the block runs."""
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, refresh_per_second=4) as progress:
            yield cls(progress)

    @contextmanager
    def step(self, name: str, total: int = 1) -> Iterator[Reached]:
        """Show a step while the block runs; gives the function to call with the part of `total` that is done."""
        task = self.progress.add_task(name, total=total)

        def reached(number: int) -> None:
            self.progress.update(task, completed=number)

        yield reached
        self.progress.update(task, completed=total)
        self.progress.stop_task(task)
