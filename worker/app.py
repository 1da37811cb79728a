"""The Celery application: its broker, settings and schedule; and running the worker and beat in this process."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import structlog
from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_process_init, worker_shutting_down
from kombu import Queue
from kombu.transport import redis as redis_transport
from kombu.transport import virtual

from core.jobs.job import DELIVERY_QUEUE, DRAIN_QUEUE, DRAIN_TASK, JOB_QUEUE, Parts, jobs
from core.settings import Settings
from schedules.table import Clock, schedule
from worker.context import KEY_PREFIX, WorkerContext, share_the_interpreter, spare_the_collector
from worker.tasks import register_tasks


class ForgettingQoS(redis_transport.QoS):
    """The messages that a channel has delivered; one whose acknowledgement fails is forgotten as well."""

    def ack(self, delivery_tag: str) -> None:
        """Tell the broker that a message is done."""
        with self._forgetting(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Tell the broker that a message is not wanted here."""
        with self._forgetting(delivery_tag):
            super().reject(delivery_tag, requeue)

    @contextmanager
    def _forgetting(self, delivery_tag: str) -> Iterator[None]:
        try:
            yield
        except self.channel.connection_errors:  # type: ignore[attr-defined]  # made with the channel
            forget: Callable[[Any, str], None] = virtual.QoS.ack
            forget(self, delivery_tag)
            raise


def forget_what_cannot_be_acknowledged() -> None:
    """From now on, let every channel of this process forget a message whose acknowledgement fails."""
    redis_transport.Channel.QoS = ForgettingQoS


# Each was chosen by measuring what a broker that disconnects, stalls or comes back does to workers.
BROKER_TRANSPORT = {
    "visibility_timeout": 300,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 5,
    "global_keyprefix": KEY_PREFIX,
}


def make_worker_app(settings: Settings) -> Celery:
    """The application for workers and beat. Connects when it is started."""
    if settings.redis_url is None:
        raise ValueError("the settings name no stream server, which is the broker too")
    forget_what_cannot_be_acknowledged()
    app = Celery("milepost", broker=settings.redis_url.get_secret_value(), set_as_current=False)
    app.conf.update(_configuration(settings))
    context = WorkerContext(settings)
    register_tasks(app, context, jobs())
    _start_children_afresh(app, context)
    _stop_delivering(app, context)
    return app


def _configuration(settings: Settings) -> dict[str, Any]:
    return {
        "broker_transport_options": BROKER_TRANSPORT,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_acks_late": True,
        "task_retry_on_worker_lost": True,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_time_limit": 120,
        "task_soft_time_limit": 90,
        "task_queues": [Queue(DRAIN_QUEUE), Queue(JOB_QUEUE), Queue(DELIVERY_QUEUE)],
        "task_default_queue": JOB_QUEUE,
        "task_routes": _routes(),
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 20,
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "result_backend": None,
        "timezone": "UTC",
        "enable_utc": True,
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 1,
        "beat_schedule": {
            row.name: {
                "task": row.task,
                "args": row.args,
                "schedule": _when(row.when),
                "options": {"queue": row.queue, "expires": row.expires_s},
            }
            for row in schedule(settings.shards)
        },
    }


def _routes() -> dict[str, dict[str, str]]:
    """The queue of each task. Beat sends the tasks of the schedule; the task of a job sends the job's parts."""
    routes = {DRAIN_TASK: DRAIN_QUEUE} | {job.task: job.queue for job in jobs()}
    routes |= {job.scheduled.task: job.queue for job in jobs() if isinstance(job.scheduled, Parts)}
    return {task: {"queue": queue} for task, queue in routes.items()}


def _when(when: float | Clock) -> float | crontab:
    if isinstance(when, Clock):
        return crontab(minute=str(when.minute), hour="*" if when.hour is None else str(when.hour))
    return when


def _start_children_afresh(app: Celery, context: WorkerContext) -> None:
    """A forked child must neither use its parent's connections nor close them."""

    def forget_connections(**_: object) -> None:
        sessions = context.__dict__.pop("sessions", None)
        if sessions is not None:
            sessions.forget()
        context.__dict__.pop("stream", None)
        context.__dict__.pop("redis", None)
        spare_the_collector()
        share_the_interpreter()

    worker_process_init.connect(forget_connections, weak=False, dispatch_uid=f"milepost.{id(app)}")


def _stop_delivering(app: Celery, context: WorkerContext) -> None:
    """End a slice of deliveries when the worker is asked to stop, which waits for its tasks."""

    def stop(**_: object) -> None:
        context.stop_delivering()

    worker_shutting_down.connect(stop, weak=False, dispatch_uid=f"milepost.{id(app)}")


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


Queues = Literal["drains", "jobs", "deliveries"]


def run_worker(settings: Settings, queues: Queues) -> None:
    """Run the worker of one queue. Drains have a queue of their own, so that no long job delays an event.

    Deliveries too, since receivers may be slow. They have one thread, beside the one that sends, and no process.
    """
    log_as_json(settings.log_level)
    app = make_worker_app(settings)
    if queues == "deliveries":
        # Its threads work in this process; those of the others do in children, which begin with the same.
        spare_the_collector()
        share_the_interpreter()
    queue, pool = {
        "drains": (DRAIN_QUEUE, [f"--concurrency={settings.drain_concurrency}"]),
        "jobs": (JOB_QUEUE, [f"--concurrency={settings.job_processes}"]),
        "deliveries": (DELIVERY_QUEUE, ["--pool=threads", "--concurrency=1"]),
    }[queues]
    app.worker_main(
        [
            "worker",
            f"--queues={queue}",
            *pool,
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
