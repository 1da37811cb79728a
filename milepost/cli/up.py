"""`milepost up`: everything in one data directory, until Ctrl-C; and the process of its demo."""

import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from core.errors import MilepostError
from core.settings import load_settings
from milepost.cli.connection import DataDirOption, connected_settings, running_servers
from milepost.demo.run import TWO_YEARS, DemoHost
from milepost.embedded.autostart import LINGER_S
from milepost.embedded.child import WHILE_USED
from milepost.embedded.datadir import DataDir
from milepost.embedded.supervisor import Supervisor


def up(
    port: Annotated[
        int | None, typer.Option(help="Where the API listens; 0: any free port.", min=0, max=65535, show_default="8000")
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Fill an empty installation with a few people, their goals and two years of events, "
            "and keep sending new ones; an installation with other data is left as it is.",
        ),
    ] = False,
    demo_days: Annotated[int, typer.Option(min=1, max=3_650, hidden=True)] = TWO_YEARS,
    while_used: Annotated[bool, typer.Option(WHILE_USED, hidden=True)] = False,
    linger_s: Annotated[float, typer.Option(min=0, hidden=True)] = LINGER_S,
    data_dir: DataDirOption = None,
) -> None:
    """Start the servers, the API, the workers and the beat; Ctrl-C ends all of them.

    Prints `ready URL` and the first API key once the API answers. Servers named by MILEPOST_DATABASE_URL and
    MILEPOST_REDIS_URL are used, not started.
    """
    settings = load_settings(port=port, data_dir=data_dir)
    if while_used:
        _reset_inherited_signals()
    say = _log if while_used else _say
    host = DemoHost(say, demo_days) if demo else None
    Supervisor(DataDir(settings.data_dir), settings, say, host, linger_s if while_used else None).run()


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # The reader of our output has ended; the servers go on, and later lines are dropped.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reset_inherited_signals() -> None:
    """Undo what is inherited from an application that ignores SIGCHLD or blocks signals."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _log(line: str) -> None:
    # A log that cannot be written, on a full disk for example, must not end the servers.
    with suppress(OSError):
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", flush=True)


def demo(data_dir: DataDirOption = None) -> None:
    """Send the demo's events, and go on sending new ones; `milepost up --demo` starts this."""
    from milepost.demo.run import run

    settings = connected_settings(data_dir)
    running = running_servers(settings)
    if running is None:
        raise MilepostError("no `milepost up` runs here: start it with --demo")
    run(settings, running.api_url)
