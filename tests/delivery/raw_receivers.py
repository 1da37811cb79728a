"""Receivers on this machine that answer byte by byte as a test wants, and senders that may reach them."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from core.delivery.addresses import AddressRules
from core.delivery.sender import Outcome, Sender

LOCAL = AddressRules(True, (ip_network("127.0.0.0/8"),))
HEADERS = {"Content-Type": "application/json", "webhook-id": "msg_1"}
BODY = b'{"type": "goal.reached"}'

# Made once: to load the certificates of the system takes longer than most tests.
TLS = ssl.create_default_context()


@dataclass
class Request:
    """One request as it came, and the connection that it came over."""

    head: str
    body: bytes
    connection: int
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return self.head.split()[1]

    @property
    def host(self) -> str:
        """The address at which it came in."""
        return str(self.writer.get_extra_info("sockname")[0])


Answer = Callable[[Request], Awaitable[None]]


@dataclass
class Receiver:
    """A server and what came to it."""

    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/x", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def receiving(
    answer: Answer, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A receiver that gives each request to `answer`, one after the other in a connection."""
    receiver = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        number = receiver.connections
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                receiver.requests.append(Request(head, body, number, writer))
                await answer(receiver.requests[-1])
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        waiting = list(tasks)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting)
        await server.wait_closed()


def writing(*parts: bytes, then_close: bool = False) -> Answer:
    """Answers with these bytes."""

    async def answer(request: Request) -> None:
        for part in parts:
            request.writer.write(part)
        await request.writer.drain()
        if then_close:
            raise EOFError

    return answer


def saying(status: str, *fields: str, body: bytes = b"") -> Answer:
    """Answers with a status and headers; the connection can be kept."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields])
    return writing(head.encode() + b"\r\n\r\n" + body)


def dripping(head: bytes, part: bytes, every_s: float) -> Answer:
    """Answers with the head, and then with the part again and again, for ever."""

    async def answer(request: Request) -> None:
        request.writer.write(head)
        while True:
            request.writer.write(part)
            await request.writer.drain()
            await asyncio.sleep(every_s)

    return answer


async def hanging(_: Request) -> None:
    """Never answers."""
    await asyncio.Event().wait()


def sending(rules: AddressRules = LOCAL, **options: Any) -> Sender:
    """A sender that may reach this machine, and gives up soon."""
    return Sender(rules, **{"timeout_s": 5.0, "tls": TLS, "user_agent": "Milepost/1", **options})


async def send(sender: Sender, url: str) -> Outcome:
    """Send the message of these tests."""
    return await sender.send(url, HEADERS, BODY)


def send_once(answer: Answer, **options: Any) -> tuple[Outcome, Receiver]:
    """One message to a receiver that answers so; what came of it, and what came there."""

    async def main() -> tuple[Outcome, Receiver]:
        async with receiving(answer) as receiver, sending(**options) as sender:
            return await send(sender, receiver.url()), receiver

    return asyncio.run(main())
