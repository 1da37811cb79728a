"""The receiver of a run: an HTTP server that keeps every request in order, and is down, slow or wrong on demand."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

_HOST = "127.0.0.1"
_POLL_S = 0.02
# Two of three slow answers come in time. The third comes after a sender has given up, which waits for 10 s.
_SLOW_S = (1.5, 3.0, 11.0)
_CUT_IN_HEADERS = b"HTTP/1.1 200 OK\r\ncontent-le"
_CUT_IN_BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe first of"


class Behaviour(StrEnum):
    """What the receiver does. CUT: it ends connections within its answer; SILENT: before it."""

    GOOD = "good"
    DOWN = "down"
    SLOW = "slow"
    ERROR = "error"
    CUT = "cut"
    SILENT = "silent"


@dataclass(slots=True)
class Received:
    """One request as it came. `status` is that of its answer; None if the sender cannot have seen one."""

    path: str
    message_id: str
    body: bytes
    is_signed: bool
    at: datetime
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    answered_at: datetime | None = None

    @property
    def is_taken(self) -> bool:
        """Whether it was answered with a status that says so."""
        return self.status is not None and 200 <= self.status <= 299


@dataclass(slots=True)
class Receiver:
    """Listens on a port of its own. `secrets` are by path; `received` is in the order in which requests were read."""

    secrets: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    behaviour: Behaviour = Behaviour.GOOD
    port: int = 0
    _reserved: socket.socket | None = None
    _server: _Server | None = None
    _lock: Lock = field(default_factory=Lock)
    _turn: int = 0

    @property
    def url(self) -> str:
        """Its address, to which a path is added."""
        return f"http://{_HOST}:{self.port}"

    def start(self) -> None:
        """Listen."""
        # Bound as long as the run lasts, so that no other socket gets the port while the receiver is down.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((_HOST, 0))
        self.port = self._reserved.getsockname()[1]
        self._listen()

    def stop(self) -> None:
        """End it with all of its connections."""
        self._close()
        if self._reserved is not None:
            self._reserved.close()

    def switch(self, behaviour: Behaviour) -> None:
        """Behave otherwise from now on; one that is down has no open port and no connection."""
        self.behaviour = behaviour
        if behaviour is Behaviour.DOWN:
            self._close()
        elif self._server is None:
            self._listen()

    def note(self, path: str, headers: dict[str, str], body: bytes) -> tuple[Received, Behaviour, int]:
        """Keep a request; returns it, how to answer it, and a number that goes up by one with each request."""
        is_signed = self._is_signed(path, headers, body)
        with self._lock:
            self._turn += 1
            request = Received(path, headers.get("webhook-id", ""), body, is_signed, datetime.now(UTC), headers)
            self.received.append(request)
            return request, self.behaviour, self._turn

    def _is_signed(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Whether the package of the specification accepts the request now: a signature is good for five minutes."""
        secret = self.secrets.get(path)
        if secret is None:
            return False
        try:
            Webhook(secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True

    def _listen(self) -> None:
        self._server = _Server((_HOST, self.port), _Handler)
        self._server.receiver = self
        arguments = {"poll_interval": _POLL_S}
        Thread(target=self._server.serve_forever, kwargs=arguments, name="receiver", daemon=True).start()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.abort_all()


class _Server(ThreadingHTTPServer):
    """The server behind the port, with the connections that it has."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    receiver: Receiver

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        accepted = super().get_request()
        self._connections.add(accepted[0])
        return accepted

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a sender that is killed resets its connections."""

    def abort_all(self) -> None:
        """End every connection that there is."""
        for each in list(self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection as the receiver behaves."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one segment, or a slow machine would look like a cut.
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        """Keep a request that came whole, and answer it."""
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request, behaviour, turn = self.server.receiver.note(self.path, headers, body)
        self._answer(request, behaviour, turn)
        request.answered_at = datetime.now(UTC)

    def _answer(self, request: Received, behaviour: Behaviour, turn: int) -> None:
        match behaviour:
            case Behaviour.ERROR:
                self._say(request, 500)
            case Behaviour.SLOW:
                time.sleep(_SLOW_S[turn % len(_SLOW_S)])
                self._say(request, 204)
            case Behaviour.CUT if turn % 2:
                self.close_connection = True
                self.wfile.write(_CUT_IN_HEADERS)
            case Behaviour.CUT:
                self.close_connection = True
                request.status = 200
                self.wfile.write(_CUT_IN_BODY)
            case Behaviour.SILENT | Behaviour.DOWN:
                self.close_connection = True
            case _:
                self._say(request, 204)

    def _say(self, request: Received, status: int) -> None:
        # Before it is written: what a sender has seen was answered.
        request.status = status
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the requests are kept."""
