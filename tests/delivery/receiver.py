"""A receiver of messages: a real HTTP server that keeps what it got and answers as a test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import simplejson
from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        return str(simplejson.loads(self.body)["type"])

    def verify(self, secret: str) -> None:
        """Raise unless the request is signed with a secret, as the package of the specification has it."""
        Webhook(secret).verify(self.body, self.headers)


Answer = tuple[int, dict[str, str], bytes]


@dataclass(slots=True)
class Receiver:
    """What came, and what to answer by path; 204 unless a test says something else."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: dict[str, Callable[[Received], Answer]] = field(default_factory=dict)

    def says(self, status: int, path: str = "/", body: bytes = b"", after_s: float = 0.0, **headers: str) -> None:
        """Answer with a status from now on."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}

        def answer(_: Received) -> Answer:
            time.sleep(after_s)
            return status, fields, body

        self.answers[path] = answer

    def ids(self, path: str = "/") -> list[str]:
        """The ids of the messages that came to a path."""
        return [each.message_id for each in self.received if each.path == path]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With the usual 5, connections that come at once wait seconds for another try.
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Nothing: senders that do not wait for a slow answer are part of the tests."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens on a port of its own."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.received.append(received)
            status, fields, answer = receiver.answers.get(self.path, lambda _: (204, {}, b""))(received)
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: a test reads what was received."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
