"""Starts `python -m benchmarks.usual_way` in a process of its own: the same events, one Celery task each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.errors import MilepostError
from core.settings import PREFIX
from milepost.embedded.process import spawn

_ROOT = Path(__file__).parents[2]
_PROGRAM = "benchmarks.usual_way"


class UsualWayFailed(MilepostError):
    """The program ended with an error; the message is its last line."""


@dataclass(frozen=True, slots=True)
class UsualWay:
    """How long the tasks took, from the first to the last, on `processes` processes."""

    events: int
    processes: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        """Tasks a second."""
        return round(self.events / self.seconds, 1)


def measure_usual_way(seeded_url: str, redis_url: str, events: int, accounts: int, since: datetime) -> UsualWay:
    """Run the program on a seeded database and an empty broker; raises UsualWayFailed."""
    size = ["--events", str(events), "--accounts", str(accounts), "--since", since.isoformat()]
    environment = os.environ | {f"{PREFIX}DATABASE_URL": seeded_url, f"{PREFIX}REDIS_URL": redis_url}
    process = spawn(
        [sys.executable, "-m", _PROGRAM, "--json", *size],
        death_signal=signal.SIGTERM,
        cwd=_ROOT,
        output=subprocess.PIPE,
        environment=environment,
    )
    try:
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    last = (output.decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
    if process.returncode != 0:
        raise UsualWayFailed(f"the usual way failed: {last}")
    stats = json.loads(last)
    return UsualWay(stats["events"], stats["processes"], stats["seconds"])
