"""`python -m tests.chaos.worker`: the drains' worker of a run, with crash points, and with a wrong drain if asked."""

from __future__ import annotations

from typing import Annotated

import typer

from milepost.cli.output import run_program
from milepost.cli.processes import worker
from tests.chaos.broken import BROKEN
from tests.chaos.crash_points import CrashingDrain, use_drain


def chaos_worker(
    broken: Annotated[str | None, typer.Option(help=f"Use a wrong drain: {', '.join(BROKEN)}.")] = None,
) -> None:
    """Run `milepost worker --queues=drains` with a drain of the tests in it."""
    use_drain(CrashingDrain)
    if broken is not None:
        BROKEN[broken]()
    worker("drains")


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(chaos_worker)
    run_program(program)
