"""Running the worker and beat in this process, until they are told to stop."""

from __future__ import annotations

from typing import Literal

from core.settings import Settings
from schedules.table import DRAINS, JOBS
from worker.app import make_worker_app
from worker.logs import log_as_json

Queues = Literal["drains", "jobs"]


def run_worker(settings: Settings, queues: Queues) -> None:
    """Run the worker of one queue. Drains have one of their own, so that no long job delays an event."""
    log_as_json(settings.log_level)
    app = make_worker_app(settings)
    queue = DRAINS if queues == "drains" else JOBS
    processes = settings.drain_concurrency if queues == "drains" else settings.job_processes
    app.worker_main(
        [
            "worker",
            f"--queues={queue}",
            f"--concurrency={processes}",
            f"--hostname={queues}@%h",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--loglevel={settings.log_level}",
        ]
    )


def run_beat(settings: Settings) -> None:
    """Run beat. Two of them do no harm: a job looks in the database for what is left to do."""
    log_as_json(settings.log_level)
    make_worker_app(settings).start(["beat", f"--loglevel={settings.log_level}", "--pidfile="])
