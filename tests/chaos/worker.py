"""`python -m tests.chaos.worker`: the drains' or deliveries' worker of a run, with crash points, and wrong if asked."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from milepost.cli.output import run_program
from milepost.cli.processes import worker
from tests.chaos.broken import BROKEN
from tests.chaos.crash_points import CrashingDrain, use_crashing_deliverer, use_drain


def chaos_worker(
    queues: Annotated[Literal["drains", "deliveries"], typer.Argument(help="Which tasks to run.")],
    broken: Annotated[str | None, typer.Option(help=f"Do something wrong: {', '.join(BROKEN)}.")] = None,
) -> None:
    """Run `milepost worker --queues=...` with a drain and a deliverer of the tests in it."""
    use_drain(CrashingDrain)
    use_crashing_deliverer()
    if broken is not None:
        BROKEN[broken]()
    worker(queues)


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(chaos_worker)
    run_program(program)
