"""A real HTTP server in a thread of the test, or in a process of its own, for what has to go over the wire."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import uvicorn
from starlette.types import ASGIApp

from api.connections import BoundedProtocol
from milepost.embedded.programs import free_port
from milepost.embedded.supervisor import answers

PATIENCE_S = 60


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve an application on a free port while the block runs; gives its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none", http=BoundedProtocol))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = monotonic() + PATIENCE_S
        while not server.started:
            assert monotonic() < deadline, "the server did not start"
            sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@contextmanager
def api_process(*options: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `milepost api` while the block runs; gives its address once it answers, and the process.

    Settings are named without their prefix: DATABASE_URL.
    """
    port = free_port()
    environment = os.environ | {f"MILEPOST_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "milepost", "api", "--port", str(port), *options]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            url, deadline = f"http://127.0.0.1:{port}", monotonic() + PATIENCE_S
            while not answers(url):
                assert monotonic() < deadline, "it does not answer"
                sleep(0.05)
            yield url, process
        finally:
            process.terminate()
