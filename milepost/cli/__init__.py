"""The `milepost` command: one file per command, and the edge where trouble becomes one line."""

from __future__ import annotations

import sys

from milepost.cli.output import explain
from milepost.cli.program import program

TROUBLE = 1
INTERRUPTED = 130


def main() -> None:
    """Run a command; expected trouble is one line on standard error and exit status 1, wrong usage 2."""
    try:
        program()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # the edge: what nobody expected is raised again
        line = explain(error)
        if line is None:
            raise
        print(f"milepost: {line}", file=sys.stderr)
        sys.exit(TROUBLE)
