"""Running the worker and beat in this process until it is stopped, and setting up their logs."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from core.jobs.job import DRAIN_QUEUE, JOB_QUEUE
from core.settings import Settings
from worker.app import make_worker_app


def log_as_json(level: str) -> None:
    """Set up both structlog and the standard library's logging, which Celery uses."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Celery would write a line for every message, two a second, and hide the lines that matter.
    for name in ("celery.app.trace", "celery.worker.strategy", "celery.worker.request", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)


Queues = Literal["drains", "jobs"]


def run_worker(settings: Settings, queues: Queues) -> None:
    """Run the worker of one queue. Drains have a queue of their own, so that no long job delays an event."""
    log_as_json(settings.log_level)
    app = make_worker_app(settings)
    queue = DRAIN_QUEUE if queues == "drains" else JOB_QUEUE
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
    """Run beat. Two at once do no harm, since a job looks in the database for what is left to do."""
    log_as_json(settings.log_level)
    make_worker_app(settings).start(["beat", f"--loglevel={settings.log_level}", "--pidfile="])
