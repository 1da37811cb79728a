"""Processes below one of ours, as the kernel shows them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from milepost.embedded.strays import is_alive

_PROC = Path("/proc")


def children_of(pid: int) -> list[int]:
    """The processes that `pid` has started and that live, in order of their ids."""
    found: list[int] = []
    with suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            found += [int(child) for child in (thread / "children").read_text("ascii").split()]
    return sorted(child for child in found if is_alive(child))


def send(pid: int, what: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True
