"""Logs of worker processes: one JSON line each on standard error, without amounts, keys or bodies."""

from __future__ import annotations

import logging
import sys

import structlog


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
    # Celery's own line for every trigger, two a second, would drown what matters.
    for name in ("celery.app.trace", "celery.worker.strategy", "celery.worker.request", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)
