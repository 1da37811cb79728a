"""`python -m benchmarks.banks`: how often amounts are wrong for banks that give dates. `make bench-banks` runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.banks.measure import Measured, measure
from benchmarks.banks.mixes import MIXES, Figures
from benchmarks.check import WrongResult
from benchmarks.command import run
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json
from milepost.ops.latency import StepProgress

_ALLOWED_POINTS = 3
_WHAT = ("goals linked today", "goals linked 30 days back", "closes")


def bench_banks(
    accounts: Annotated[int, typer.Option(help="Accounts in each mix of banks.", min=1)] = 350,
    seed: Annotated[int, typer.Option(help="The same seed makes the same accounts.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Simulate accounts at banks that mostly give a date, and count the amounts and closes that stay wrong.

    All is in memory; of fewer accounts the figures differ more by chance. Exit status 1 if a figure is more than three
    points above the expected one, or if the rule of the first instant, which is measured beside ours, has less than
    two thirds of what it should have: the simulated banks are too kind then.
    """
    measured = []
    with StepProgress.on(Console(stderr=True)) as progress:
        for mix in MIXES:
            with progress.step(mix.name, accounts) as reached:
                measured.append(measure(mix, accounts, seed, reached))
    if as_json:
        print_json([as_plain(each) for each in measured])
    else:
        Console(highlight=False).print(as_table(measured))
    found = [fault for each in measured for fault in faults(each)]
    if found:
        raise WrongResult("bench-banks", found)


def faults(measured: Measured) -> Iterator[str]:
    """What of one mix is not as it should be."""
    mix = measured.mix
    for what, ours, expected in _known(measured.ours, mix.expected):
        if ours > expected + _ALLOWED_POINTS:
            yield f"{mix.name}: {ours}% of {what} are wrong, at most {expected + _ALLOWED_POINTS}% should be"
    for what, other, expected in _known(measured.first_instant, mix.expected_first_instant):
        if 3 * other < 2 * expected:
            yield f"{mix.name}: by the first instant {other}% of {what} are wrong, about {expected}% should be"


def _known(measured: Figures, expected: Figures) -> Iterator[tuple[str, float, float]]:
    """The figures of which it is known what they should be."""
    for what, found, right in zip(_WHAT, measured, expected, strict=True):
        if found is not None and right is not None:
            yield what, found, right


def as_plain(measured: Measured) -> dict[str, object]:
    """All figures of one mix by name, in percent."""
    mix = measured.mix
    figures = {
        "ours": measured.ours,
        "expected": mix.expected,
        "first_instant": measured.first_instant,
        "expected_first_instant": mix.expected_first_instant,
    }
    plain = {name: each._asdict() for name, each in figures.items()}
    return {"mix": mix.name, "accounts": measured.accounts} | plain


def as_table(measured: Sequence[Measured]) -> Table:
    """The printed table."""
    table = Table("mix of banks", "our rule", "expected", "first instant", "expected", box=None, header_style="bold")
    table.title, table.title_justify = "percent wrong: goals linked today / 30 days back / closes", "left"
    for each in measured:
        mix = each.mix
        figures = each.ours, mix.expected, each.first_instant, mix.expected_first_instant
        table.add_row(mix.name, *map(_text, figures))
    return table


def _text(figures: Figures) -> str:
    return " / ".join("-" if each is None else f"{each:g}" for each in figures)


if __name__ == "__main__":
    run(bench_banks)
