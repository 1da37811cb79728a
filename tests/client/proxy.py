"""A proxy to Postgres that breaks connections on request: before a COMMIT, or between one and its answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

COMMIT = b"COMMIT\0"
CHUNK_BYTES = 65_536


@dataclass
class Proxy:
    """Lets connections through to a server; `url` is the database by way of this proxy."""

    url: str
    # How many of the next COMMITs get through, with their connections cut before the answer; and how many do not.
    lose_answers: int = 0
    lose_commits: int = 0
    # New connections are cut at once, from a lost COMMIT on if it goes down with it; or wait until `let_in` is set.
    is_down: bool = False
    goes_down: bool = False
    let_in: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.let_in.set()


@contextmanager
def proxy_to(database_url: str) -> Iterator[Proxy]:
    """A proxy in front of a database, in threads of this process."""
    parts = urlsplit(database_url)
    target = str(parts.hostname), int(parts.port or 5432)
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(database_url.replace(f":{parts.port}/", f":{listener.getsockname()[1]}/"))
    thread = threading.Thread(target=_accept, args=(listener, target, proxy), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.let_in.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _accept(listener: socket.socket, target: tuple[str, int], proxy: Proxy) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, target, proxy), daemon=True).start()


def _serve(client: socket.socket, target: tuple[str, int], proxy: Proxy) -> None:
    with client:
        proxy.waiting.release()
        proxy.let_in.wait(60)
        if proxy.is_down:
            return
        with socket.create_connection(target) as server:
            back = threading.Thread(target=_pump_back, args=(server, client), daemon=True)
            back.start()
            with suppress(OSError):
                _pump(client, server, proxy)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join(10)


def _pump(client: socket.socket, server: socket.socket, proxy: Proxy) -> None:
    while data := client.recv(CHUNK_BYTES):
        if COMMIT in data and (proxy.lose_commits or proxy.lose_answers):
            proxy.is_down = proxy.goes_down
        if COMMIT in data and proxy.lose_commits:
            proxy.lose_commits -= 1
            return
        if COMMIT in data and proxy.lose_answers:
            proxy.lose_answers -= 1
            # The client receives nothing any more, and the server has all it needs.
            client.shutdown(socket.SHUT_RDWR)
            server.sendall(data)
            server.settimeout(10)
            server.recv(CHUNK_BYTES)
            return
        server.sendall(data)


def _pump_back(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while data := server.recv(CHUNK_BYTES):
            client.sendall(data)
