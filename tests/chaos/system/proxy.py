"""A link that breaks on demand: a TCP proxy in a thread of its own that drops, cuts, resets or delays."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Thread

from milepost.embedded.programs import free_port

_CHUNK_BYTES = 65_536
_DELAY_S = 0.2
_HOST = "127.0.0.1"
# SO_LINGER on, with no time to linger: closing sends RST.
_ABRUPTLY = struct.pack("ii", 1, 0)


class Mode(StrEnum):
    """What the link does with bytes and connections."""

    OPEN = "open"
    SWALLOW = "swallow"
    CUT = "cut"
    DELAY = "delay"


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection through the link. Once a byte of it was dropped, nothing is forwarded any more."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_lost: bool = False

    def abort(self) -> None:
        """End it with a reset on both sides."""
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPTLY)
            writer.transport.abort()


@dataclass(slots=True)
class Proxy:
    """A link to a port of this machine; connect to `port` instead."""

    target: int
    port: int = field(default_factory=free_port)
    mode: Mode = Mode.OPEN
    _connections: set[_Connection] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: Thread | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        listener = socket.create_server((_HOST, self.port), backlog=128)
        self._thread = Thread(target=self._run, args=(listener,), name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the link and all connections."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)

    def switch(self, mode: Mode) -> None:
        """Change the mode; a cut also resets all connections."""
        self.mode = mode
        if mode is Mode.CUT:
            self.reset()

    def reset(self) -> None:
        """Reset every connection that there is."""
        self._loop.call_soon_threadsafe(self._abort, False)

    def end_lost(self) -> None:
        """Reset the connections of which bytes were dropped: nothing is forwarded through them any more."""
        self._loop.call_soon_threadsafe(self._abort, True)

    def _abort(self, only_lost: bool) -> None:
        for connection in [each for each in self._connections if each.is_lost or not only_lost]:
            connection.abort()

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(listener))
        self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self._accept, sock=listener)
        await self._stop.wait()
        server.close()
        self._abort(False)
        # The pumps see their ends closed.
        for _ in range(50):
            if not self._connections:
                return
            await asyncio.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.CUT:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(_HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, to_server)
        self._connections.add(connection)
        try:
            await asyncio.gather(self._pump(reader, to_server, connection), self._pump(from_server, writer, connection))
        finally:
            connection.abort()
            self._connections.discard(connection)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if self.mode is Mode.SWALLOW:
                    connection.is_lost = True
                if connection.is_lost:
                    continue
                if self.mode is Mode.DELAY:
                    await asyncio.sleep(_DELAY_S)
                writer.write(data)
                await writer.drain()
        # The other direction ends with this one; half-closed connections are not needed here.
        writer.transport.close()
