"""`milepost migrate`, and the processes of an installation: `milepost api`, `worker` and `beat`."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from core.errors import MilepostError
from core.services.keys import prepare_database
from core.settings import Settings, load_settings
from milepost.cli.connection import DataDirOption, connected_settings
from milepost.embedded.launch import die_with_parent

if TYPE_CHECKING:
    from fastapi import FastAPI

PROCESSES_MOST = 64
_GRACEFUL_S = 2
# 1,000 connections, 2,000 streams, and some for connections to Postgres.
_FILES = 4_096
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def migrate(data_dir: DataDirOption = None) -> None:
    """Bring the schema up to date and make the tenant `default`, with MILEPOST_BOOTSTRAP_KEY if that is set."""
    settings = load_settings(data_dir=data_dir)
    if settings.database_url is None:
        settings = connected_settings(data_dir)
    if settings.database_url is None:
        raise MilepostError("the settings name no database")
    key = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key is not None else None
    require_stream(settings)
    prepare_database(settings.database_url.get_secret_value(), key)
    print("the schema is up to date")


def api(
    port: Annotated[
        int | None, typer.Option(help="Where to listen; 0: any free port.", min=0, max=65535, show_default="8000")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    data_dir: DataDirOption = None,
    processes: Annotated[
        int, typer.Option(help="How many processes serve it; one uses one core.", min=1, max=PROCESSES_MOST)
    ] = 1,
) -> None:
    """Serve the REST API."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from api.connections import BoundedProtocol
    from milepost.embedded.programs import claim_port

    settings = connected_settings(data_dir, port=port, host=host)
    require_current_schema(settings)
    require_stream(settings)
    _log_to_stderr(settings)
    config = uvicorn.Config(
        _ApiProcess(settings, os.getpid() if processes > 1 else None),
        factory=True,
        host=settings.host,
        port=claim_port(settings.host, settings.port),
        workers=processes,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        http=BoundedProtocol,
        timeout_graceful_shutdown=_GRACEFUL_S,
    )
    if processes == 1:
        uvicorn.Server(config).run()
        return
    with tempfile.TemporaryDirectory(prefix="milepost-metrics-") as folder:
        # The library reads it when a process imports it: then it counts in files, which every process sums up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        Multiprocess(config, sockets=[config.bind_socket()]).run()


def worker(
    queues: Annotated[
        Literal["drains", "jobs", "deliveries"],
        typer.Option(help="Which tasks to run. Start at least one worker of each, so that drains never wait for jobs."),
    ],
    data_dir: DataDirOption = None,
) -> None:
    """Run tasks: `drains` apply events, `deliveries` send messages to endpoints, `jobs` are all others."""
    from celery.signals import worker_process_init

    from worker.app import run_worker

    settings = connected_settings(data_dir)
    require_current_schema(settings)
    require_stream(settings)
    worker_process_init.connect(_EndWithWorker(os.getpid()), weak=False)
    run_worker(settings, queues)


def beat(data_dir: DataDirOption = None) -> None:
    """Send the tasks of the schedule when they are due; two beats do no harm."""
    from worker.app import run_beat

    settings = connected_settings(data_dir)
    require_current_schema(settings)
    run_beat(settings)


def require_current_schema(settings: Settings) -> None:
    """Raise DatabaseTooOld, UnknownRevision or NotMigrated if the database answers and cannot be used as it is.

    A database that does not answer is no error here: the process waits for it later.
    """
    from psycopg import OperationalError

    from core.store.database import open_sessions
    from core.store.migrate import require_current

    with suppress(OperationalError), open_sessions(settings, application_name="milepost") as sessions:
        require_current(sessions)


def require_stream(settings: Settings) -> None:
    """Raise StreamTooOld if the stream server answers and is one that cannot say when an event is on disk."""
    from core.stream.stream import EventStream, connect

    if settings.redis_url is not None:
        with connect(settings.redis_url.get_secret_value()) as client:
            EventStream(client, settings.shards, settings.stream_durability).require_waitaof()


@dataclass(frozen=True, slots=True)
class _ApiProcess:
    """Makes the application in each process that serves it; `parent` is the process that started several."""

    settings: Settings
    parent: int | None

    def __call__(self) -> FastAPI:
        from api.app import make_app

        if self.parent is not None:
            _log_to_stderr(self.settings)
            die_with_parent(signal.SIGTERM, self.parent)
        _allow_files()
        app = make_app(self.settings)
        # All this stays. The collector would look through it again and again, and meanwhile nobody is answered.
        gc.collect()
        gc.freeze()
        return app


def _allow_files() -> None:
    """Let this process open as many files as it may have connections and streams; many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _EndWithWorker:
    """Makes a pool process end with its worker: after a kill of the worker it would wait for work for ever."""

    def __init__(self, worker_pid: int) -> None:
        self.worker_pid = worker_pid

    def __call__(self, **_signal: object) -> None:
        die_with_parent(signal.SIGKILL, self.worker_pid)


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(stream=sys.stderr, level=settings.log_level, format=_LOG_FORMAT)
