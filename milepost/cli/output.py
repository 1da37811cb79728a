"""How commands print values, and how they explain errors to a person at a terminal."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime

import simplejson
import typer

from core.errors import MilepostError

TROUBLE = 1
INTERRUPTED = 130


def print_json(value: object) -> None:
    """Print `value` as JSON; times as UTC with Z."""
    print(simplejson.dumps(value, indent=2, default=_json_form))


def run_program(program: Callable[[], object]) -> None:
    """Run a command line; an expected error is one line on standard error and exit status 1, Ctrl-C is 130."""
    try:
        program()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # the process edge: an unexpected error is raised again
        line = explain(error)
        if line is None:
            raise
        print(f"milepost: {line}", file=sys.stderr)
        sys.exit(TROUBLE)


def explain(error: Exception) -> str | None:
    """One line for an expected error; None for a defect, which should show its traceback."""
    from psycopg import Error as PsycopgError
    from psycopg.errors import UndefinedColumn, UndefinedTable
    from redis.exceptions import RedisError

    if isinstance(error, MilepostError):
        return str(error)
    if isinstance(error, PsycopgError):
        hint = "; was `milepost migrate` run?" if isinstance(error, UndefinedColumn | UndefinedTable) else ""
        return f"the database: {_first_line(error)}{hint}"
    if isinstance(error, RedisError):
        return f"the stream server: {_first_line(error)}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


@contextmanager
def trouble_as(status: int) -> Iterator[None]:
    """End with `status` at any error within the block, for a command whose status 1 means something else."""
    try:
        yield
    except Exception as error:  # the process edge: an unexpected error shows its traceback
        line = explain(error)
        if line is None:
            traceback.print_exc()
        else:
            print(f"milepost: {line}", file=sys.stderr)
        raise typer.Exit(status) from error


def _json_form(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
