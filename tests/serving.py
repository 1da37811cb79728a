"""A real HTTP server in a thread of the test, for what has to go over the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import uvicorn
from starlette.types import ASGIApp

from api.connections import BoundedProtocol
from milepost.embedded.programs import free_port

PATIENCE_S = 20


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
