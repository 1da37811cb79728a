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
_PROGRAMME = "benchmarks.usual_way"


class UsualWayFailed(MilepostError):
    """The programme ended with an error; its own words are the message."""


@dataclass(frozen=True, slots=True)
class UsualWay:
    """What so many tasks took, from the first to the last, on so many processes."""

    events: int
    processes: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        """Tasks a second."""
        return round(self.events / self.seconds, 1)


def measure_usual_way(seeded_url: str, redis_url: str, events: int, accounts: int, since: datetime) -> UsualWay:
    """Run the programme on a seeded database and an empty broker; raises UsualWayFailed."""
    size = ["--events", str(events), "--accounts", str(accounts), "--since", since.isoformat()]
    environment = os.environ | {f"{PREFIX}DATABASE_URL": seeded_url, f"{PREFIX}REDIS_URL": redis_url}
    process = spawn(
        [sys.executable, "-m", _PROGRAMME, "--json", *size],
        death_signal=signal.SIGTERM,
        cwd=_ROOT,
        output=subprocess.PIPE,
        environment=environment,
    )
    try:
        said, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    last = (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    if process.returncode != 0:
        raise UsualWayFailed(f"the usual way failed: {last}")
    stats = json.loads(last)
    return UsualWay(stats["events"], stats["processes"], stats["seconds"])
