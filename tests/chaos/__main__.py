"""`python -m tests.chaos`: break every part in turn under load, and check every amount. `make chaos` runs it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from milepost.cli.connection import JsonOption
from milepost.cli.output import INTERRUPTED, print_json, run_program, trouble_as
from milepost.embedded.child import StopAsked, stop_requests
from tests.chaos.broken import BROKEN
from tests.chaos.faults.schedule import FAULTS, steps
from tests.chaos.plan import Outcome, Plan
from tests.chaos.run import run_chaos
from tests.chaos.system.servers import Fsync

WRONG, NOT_CHECKED = 1, 3
_SHOWN = 10


class StreamFsync(StrEnum):
    """The option for how the stream server of a run syncs."""

    BOTH = "both"
    ALWAYS = "always"
    EVERYSEC = "everysec"
    NONE = "none"

    @property
    def modes(self) -> list[Fsync]:
        """The modes in which the server may be started."""
        return [Fsync.ALWAYS, Fsync.EVERYSEC] if self is StreamFsync.BOTH else [Fsync(self.value)]


Broken = StrEnum("Broken", {name: name for name in BROKEN})  # type: ignore[misc]  # made from the table


def chaos(
    seed: Annotated[int, typer.Option(help="Decides all events, their order, and the order of the faults.")] = 1,
    minutes: Annotated[float, typer.Option(help="For how long faults are injected.", min=0.01, max=1_440)] = 1.0,
    stream_fsync: Annotated[
        StreamFsync,
        typer.Option(
            help="When the stream server syncs; both: each restart chooses always or everysec. none stores nothing "
            "on disk, so that events are lost: the run must then end with status 1, which proves that it finds a loss."
        ),
    ] = StreamFsync.BOTH,
    broken: Annotated[
        Broken | None,
        typer.Option(help="Use a drain or a deliverer that is wrong on purpose: the run must end with status 1."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--fault", help="Only this kind of fault; repeat the option for several.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a second.", min=1, max=5_000)] = 200.0,
    keep: Annotated[Path | None, typer.Option(help="A folder for the logs of all processes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put load on a system, break its parts in turn, repair it, and check every amount.

    Starts servers and processes of its own in the temporary folder (TMPDIR) and removes them at the end. Exit status 0
    if every row is right, 1 with the wrong rows if not, 3 if there was nothing to check. Linux only.

    Example: make chaos ARGS="--seed 1 --minutes 10"
    """
    from worker.app import log_as_json

    log_as_json("ERROR")
    plan = Plan(seed, minutes, stream_fsync.modes, broken, rate, _known(only or []))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", file=sys.stderr, flush=True)

    try:
        with trouble_as(NOT_CHECKED), stop_requests():
            _say_schedule(plan, say)
            outcome = run_chaos(plan, say, keep=keep)
    except StopAsked:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(outcome.as_plain())
    else:
        _print(outcome)
    if not outcome.verdict.is_good:
        raise typer.Exit(WRONG)


def _known(names: list[str]) -> list[str]:
    unknown = set(names) - {fault.name for fault in FAULTS}
    if unknown:
        raise typer.BadParameter(
            f"there is no fault called {', '.join(sorted(unknown))}; there are: {', '.join(f.name for f in FAULTS)}"
        )
    return names


def _say_schedule(plan: Plan, say: Callable[[str], None]) -> None:
    """Print the faults in their order, as many as fit into the minutes."""
    left_s = 60 * plan.minutes
    say(f"seed {plan.seed}, {plan.minutes:g} minutes; the faults, as far as the time allows:")
    for step in steps(plan.seed, plan.minutes, plan.only):
        left_s -= step.duration_s
        if left_s < 0 and step.number > 1:
            return
        say(f"  {step.number}. {step}")


def _print(outcome: Outcome) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in outcome.counts.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    table.add_row("requests", f"{outcome.requests:,}")
    table.add_row("requests sent again", f"{outcome.retries:,}")
    for name, count in sorted(outcome.faults.items()):
        seconds = outcome.recovered_s.get(name)
        table.add_row(f"fault: {name}", f"{count}" + ("" if seconds is None else f"  (recovered in {seconds:.1f} s)"))
    for name, count in sorted(outcome.missed.items()):
        table.add_row(f"fault: {name}", f"{count} missed")
    for name in sorted(outcome.skipped):
        table.add_row(f"fault: {name}", "skipped")
    for name, checked in outcome.verdict.checks.items():
        wrong = sum(each.check == name for each in outcome.verdict.wrong)
        table.add_row(f"check: {name}", f"{checked:,}" + (f", {wrong:,} wrong" if wrong else ""))
    table.add_row("drained in", "not in time" if outcome.drained_s is None else f"{outcome.drained_s:.1f} s")
    console.print(table)
    for reason in sorted(set(outcome.skipped.values())):
        console.print(f"skipped: {reason}")
    if outcome.verdict.is_good:
        console.print(f"all holds: seed {outcome.seed}")
        return
    console.print(f"seed {outcome.seed}; what happened:")
    for line in outcome.history:
        console.print(f"  {line}")
    for each in outcome.verdict.first(_SHOWN):
        console.print(f"{each.check}: {each.row}", style="red")
    console.print(f"{len(outcome.verdict.wrong):,} wrong rows: seed {outcome.seed}")


def main() -> None:
    """Run the command; wrong usage is exit status 2."""
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(chaos)
    run_program(program)


if __name__ == "__main__":
    main()
