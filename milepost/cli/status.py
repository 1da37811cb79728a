"""`milepost status`: which parts run, what waits, and the goals that moved last; once, or live."""

import errno
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from core.errors import MilepostError
from milepost.cli.connection import DataDirOption, JsonOption, connected_settings
from milepost.cli.output import print_json
from milepost.embedded.child import StopAsked, stop_requests
from milepost.ops.status import GOALS_MOST, Status, collect_status, status_as_json
from milepost.ops.status_frame import frame

EVERY_S = 2.0
_NOT_A_TERMINAL_WIDTH = 160
# The lines of a frame that are not goals, and the fewest goals to show even on a small terminal.
_OTHER_LINES = 25
_GOALS_LEAST = 3


def status(
    seconds: Annotated[
        float | None,
        typer.Argument(
            help="With --watch: the seconds between two updates.", min=0.2, max=3600, show_default=f"{EVERY_S:g}"
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show servers, backlog, goals that moved last, closed days, jobs and processes; exit status 1 if not well.

    Changes nothing. --watch shows it live, and ends with 0 at Ctrl-C; if the output is not a terminal it prints one
    frame after the other.

    Example: milepost status --watch 5
    """
    if seconds is not None and not watch:
        raise typer.BadParameter("SECONDS is for --watch")
    if watch:
        _watch(data_dir, seconds or EVERY_S, as_json)
        return
    found = collect_status(connected_settings(data_dir))
    _print(found, as_json)
    if not found.is_well:
        raise typer.Exit(1)


def _watch(data_dir: Path | None, every_s: float, as_json: bool) -> None:
    try:
        with stop_requests():
            first = collect_status(connected_settings(data_dir))
            if as_json or not sys.stdout.isatty():
                _print_frames(first, data_dir, every_s, as_json)
            else:
                _show_frames(first, data_dir, every_s)
    except StopAsked:
        return
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # The reader of our output has ended, or the terminal is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_frames(found: Status, data_dir: Path | None, every_s: float, as_json: bool) -> None:
    while True:
        _print(found, as_json)
        if not as_json:
            print()
        sys.stdout.flush()
        time.sleep(every_s)
        found = _collect_again(data_dir)


def _show_frames(found: Status, data_dir: Path | None, every_s: float) -> None:
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            goals_most = min(GOALS_MOST, max(_GOALS_LEAST, console.height - _OTHER_LINES))
            live.update(frame(found, console.width, goals_most), refresh=True)
            time.sleep(every_s)
            found = _collect_again(data_dir)


def _collect_again(data_dir: Path | None) -> Status:
    """The status from servers found again: `milepost up` may have ended since, and may start again elsewhere."""
    try:
        return collect_status(connected_settings(data_dir))
    except MilepostError as error:
        return Status(datetime.now(UTC), None, None, None, None, None, (str(error),))


def _print(found: Status, as_json: bool) -> None:
    if as_json:
        print_json(status_as_json(found))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _NOT_A_TERMINAL_WIDTH)
        console.print(frame(found, console.width))
