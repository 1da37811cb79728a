"""The door over REST: one call is one request, sent again until it has an answer, and done once however often sent."""

from __future__ import annotations

from uuid import uuid4

import httpx2
from tenacity import AsyncRetrying, retry_if_exception

from milepost.errors import MilepostError, told_of_key
from milepost.http import AsyncHttp, Message, Patience, Server, answer_of, may_try_again, unreachable
from milepost.wire import Answer, Call, query_text


class HttpDoor:
    """Answers calls from a Milepost over HTTP.

    What changes something bears an Idempotency-Key, so that a request whose answer was lost can be sent again.
    """

    def __init__(self, server: Server, patience: Patience) -> None:
        self._http = AsyncHttp(server)
        self._server = server
        self._patience = patience

    async def call(self, call: Call) -> Answer:
        """The answer; raises the errors of milepost.errors."""
        key = None if call.method == "GET" else call.idempotency_key or str(uuid4())
        message = Message(
            call.method,
            self._server.url + call.address + query_text(call.query),
            {} if key is None else {"Idempotency-Key": key},
            call.raw_body or None,
        )
        try:
            return await self._send(message)
        except httpx2.RequestError as error:
            raise told_of_key(unreachable(error, self._server), key) from error
        except MilepostError as error:
            told_of_key(error, key)
            raise

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._http.close()

    async def _send(self, message: Message) -> Answer:
        again = retry_if_exception(may_try_again)
        tries = AsyncRetrying(retry=again, wait=self._patience.pause_s, stop=self._patience.stop, reraise=True)
        async for attempt in tries:
            with attempt:
                return answer_of(await self._http.send(message))
        raise AssertionError("the last try returns or raises")
