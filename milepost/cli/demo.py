"""`milepost demo`: the process that `milepost up --demo` starts in addition to the others; not for people."""

from __future__ import annotations

from core.errors import MilepostError
from milepost.cli.connection import DataDirOption, connected_settings, running_servers


def demo(data_dir: DataDirOption = None) -> None:
    """Send the demo's events, and go on sending new ones; `milepost up --demo` starts this."""
    from milepost.demo.run import run

    settings = connected_settings(data_dir)
    running = running_servers(settings)
    if running is None:
        raise MilepostError("no `milepost up` runs here: start it with --demo")
    run(settings, running.api_url)
