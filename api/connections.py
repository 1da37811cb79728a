"""The bounds of connections that uvicorn has no settings for: how many there are, and how long a caller may take."""

import socket
import sys
from asyncio import BaseTransport, TimerHandle
from secrets import token_hex
from typing import Protocol

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MOST = 1_000
"""Of one process, without its streams. Whatever it serves, each takes a file and some memory."""
STREAMS = "milepost_streams"
"""Where the state that an application's lifespan makes has its streams, if it has any."""
HEAD_LONGEST_S = 10.0
"""Also of what is missing of a body when its request has been answered."""
UNREAD_LONGEST_MS = 60_000
"""How long a caller may take none of what we send it, before the kernel gives the connection up."""
BUFFERED_MOST_BYTES = 16_384
"""How much of an answer may wait in our memory when more of it is sent."""
_RETRY = b"retry-after: 2"


class Streams(Protocol):
    """The answers of an application that have no end of their own."""

    @property
    def count(self) -> int:
        """How many there are, each of which has a connection; they have a limit of their own."""
        ...

    def end_all(self) -> None:
        """End them soon, since the server stops; to call it again does nothing."""
        ...


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 for a server whose callers may be slow, or many, on purpose.

    A head, from the first line of a request to the empty line, has to come within HEAD_LONGEST_S, however little comes
    at a time; so has the first byte of a connection. If a request is answered before its body is complete, the rest
    of the body has to come within the same time, from its first byte after the answer. Until then it is read and
    dropped: if we closed with bytes unread, a caller who is still sending could lose the answer. How long a head may be
    is a bound of h11, how long a route waits for a body one of api.bodies, and how long a connection may be silent
    after an answer one of uvicorn.
    """

    _timer: TimerHandle | None = None
    _timed: type[h11.IDLE] | type[h11.SEND_BODY] | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, unless there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        # Only streams are sent in parts, so only they wait for it.
        transport.set_write_buffer_limits(high=BUFFERED_MOST_BYTES)  # type: ignore[attr-defined]
        if sys.platform == "linux":
            # Only the kernel knows how much was taken; a transport that is closed waits for the rest without an end.
            link = transport.get_extra_info("socket")
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_LONGEST_MS)
        streams = self._streams
        if len(self.connections) - (0 if streams is None else streams.count) > CONNECTIONS_MOST:
            self._refuse(b"503 Service Unavailable", b"Too many connections; try again", _RETRY)
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on, and watch the time while a head, or the rest of an answered request, is not complete."""
        super().data_received(data)
        self._watch()

    def shutdown(self) -> None:
        """End when the present answer does, and end streams; uvicorn calls this for every connection when it stops."""
        if self._streams is not None:
            self._streams.end_all()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, with the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuse what h11 cannot read; uvicorn calls this. After an answer has begun there cannot be another one."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(b"400 Bad Request", b"The request is not valid HTTP, or its head is too long")
        else:
            self.transport.close()

    @property
    def _streams(self) -> Streams | None:
        return self.app_state.get(STREAMS)

    def _watch(self) -> None:
        """Start the time when a head, or the rest of an answered request, becomes due; more bytes give no more time."""
        ours, theirs = self.conn.our_state, self.conn.their_state
        due = theirs if theirs is h11.IDLE or (theirs is h11.SEND_BODY and ours is h11.DONE) else None
        if due is self._timed:
            return
        self._stop_timer()
        if due is not None:
            end = self._end_slow_head if due is h11.IDLE else self.transport.abort
            self._timer, self._timed = self.loop.call_later(HEAD_LONGEST_S, end), due

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timed = None

    def _end_slow_head(self) -> None:
        self._refuse(b"408 Request Timeout", b"The head of the request did not come in time", _RETRY)

    def _refuse(self, status: bytes, why: bytes, *headers: bytes) -> None:
        """Answer in the place of the application, with the headers that api.tracing gives to its answers, and close."""
        body = b'{"detail":"' + why + b'"}'
        head = (
            b"HTTP/1.1 " + status,
            b"content-type: application/json",
            b"content-length: " + str(len(body)).encode(),
            b"x-request-id: " + token_hex(16).encode(),
            b"x-content-type-options: nosniff",
            b"cache-control: private, no-cache",
            b"connection: close",
            *headers,
        )
        self.transport.write(b"\r\n".join((*head, b"", body)))
        self.transport.close()
