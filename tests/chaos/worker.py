"""`python -m tests.chaos.worker`: the drains' worker of a run, with a drain of the tests' own in it."""

from __future__ import annotations

from typing import Annotated

import typer

from milepost.cli.output import run_program
from milepost.cli.processes import worker
from tests.chaos.broken import BROKEN


def chaos_worker(
    broken: Annotated[str | None, typer.Option(help=f"Use a wrong drain: {', '.join(BROKEN)}.")] = None,
) -> None:
    """Run the drains as `milepost worker --queues=drains` does."""
    if broken is not None:
        BROKEN[broken]()
    worker("drains")


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(chaos_worker)
    run_program(program)
