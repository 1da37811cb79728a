"""The `milepost` command: one file per command, and the edge where trouble becomes one line."""

from __future__ import annotations

from milepost.cli.output import run_program
from milepost.cli.program import program


def main() -> None:
    """Run a command; expected trouble is one line on standard error and exit status 1, wrong usage 2."""
    run_program(program)
