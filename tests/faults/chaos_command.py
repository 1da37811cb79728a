"""`python -m tests.chaos` as a person runs it, in a temporary folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 400
ROOT = Path(__file__).parents[2]


@dataclass
class Ran:
    """How a run ended, what it found, and what it said on the way."""

    status: int
    found: dict[str, Any]
    said: str

    def wrong(self, check: str) -> list[str]:
        """The rows that a check found wrong."""
        return [row for row in self.found["wrong"] if row.startswith(f"{check}: ")]


def chaos(folder: Path, *arguments: str) -> Ran:
    """Run it to its end; nothing of it may be left, neither a file nor a process."""
    process = begin(folder, *arguments)
    output, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode in (0, 1), said.decode()[-4_000:]
    require_gone(folder)
    return Ran(process.returncode, json.loads(output), said.decode())


def begin(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start it; its temporary folder is `folder`, and no setting of ours reaches it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", "--json", *arguments],
        cwd=ROOT,
        env=environment | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def interrupt_once_up(folder: Path, process: subprocess.Popen[bytes], what: signal.Signals) -> int:
    """Send a signal to a run whose servers are up; its status."""
    deadline = time.monotonic() + 60
    while not list(folder.glob("milepost-chaos-*/logs/worker-drains.log")):
        assert time.monotonic() < deadline, "it did not start in time"
        time.sleep(0.05)
    process.send_signal(what)
    process.communicate(timeout=60)
    return process.returncode


def require_gone(folder: Path) -> None:
    """Raise if a file is left, or a process that works there."""
    deadline = time.monotonic() + 10
    while left := [*folder.iterdir(), *_working_in(folder)]:
        assert time.monotonic() < deadline, f"left: {left}"
        time.sleep(0.05)


def _working_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                place = os.readlink(entry / "cwd")
            except OSError:
                continue
            if place.startswith(str(folder)):
                found.append(f"process {entry.name} in {place}")
    return found
