"""What the command lines of all benchmarks share: start, servers, and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from benchmarks.servers import ServerUrls, bench_servers
from milepost.cli.output import INTERRUPTED, run_program
from milepost.embedded.child import StopAsked, stop_requests
from milepost.ops.latency import StepProgress


def run(command: Callable[..., None]) -> None:
    """Run one command; an expected error is one line on standard error and exit status 1, wrong usage is 2."""
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(command)
    run_program(program)


@contextmanager
def measuring() -> Iterator[tuple[ServerUrls, StepProgress]]:
    """Servers to measure on and a progress display; the servers are removed at the end. Ctrl-C is exit status 130."""
    try:
        with stop_requests(), StepProgress.on(Console(stderr=True)) as progress, bench_servers() as servers:
            yield servers, progress
    except StopAsked:
        raise typer.Exit(INTERRUPTED) from None
