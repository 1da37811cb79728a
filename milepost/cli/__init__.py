"""The `milepost` command: one file per command or group, and the place where an error becomes one line."""

from milepost.cli.output import run_program
from milepost.cli.program import program


def main() -> None:
    """Run a command; an expected error is one line on standard error and exit status 1, wrong usage is 2."""
    run_program(program)
