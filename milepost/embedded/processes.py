"""Processes below one of ours, as the kernel shows them, and signals to them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """The processes that `pid` has started and that live, in order of their ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Of the state, the parent and what follows: the name before them may hold anything, brackets too.
            state, parent = path.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            if int(parent) == pid and state not in {"Z", "X"}:
                found.append(int(path.parent.name))
    return sorted(found)


def send(pid: int, what: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True
