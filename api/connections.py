"""The bounds of connections that uvicorn has no settings for: how many there are, and how long a head may take."""

from asyncio import BaseTransport, TimerHandle

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MOST = 1_000
"""Of one process. Whatever it serves, each takes a file and some memory."""
HEAD_LONGEST_S = 10.0


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 for a server whose callers may be slow, or many, on purpose.

    A head, from the first line of a request to the empty line, has to come within HEAD_LONGEST_S, however little comes
    at a time; so has the first byte of a connection. How long a head may be is a bound of h11, how long the body may
    take one of api.bodies, and how long a connection may wait between two requests one of uvicorn.
    """

    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, unless there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > CONNECTIONS_MOST:
            self._refuse(b"503 Service Unavailable", b"Too many connections; try again")
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Go on, and watch the time while the head of a request is not complete."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, with the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_LONGEST_S, self._end_slow_head)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_slow_head(self) -> None:
        self._refuse(b"408 Request Timeout", b"The head of the request did not come in time")

    def _refuse(self, status: bytes, why: bytes) -> None:
        body = b'{"detail":"' + why + b'"}'
        head = (
            b"HTTP/1.1 " + status,
            b"content-type: application/json",
            b"content-length: " + str(len(body)).encode(),
            b"retry-after: 2",
            b"connection: close",
        )
        self.transport.write(b"\r\n".join((*head, b"", body)))
        self.transport.close()
