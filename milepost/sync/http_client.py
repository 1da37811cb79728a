# Generated from milepost/client by `make sync-client`; change it there.
"""The client: goals of a Milepost elsewhere, over REST. One call is one request, sent again until it has an answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx2
from tenacity import Retrying, retry_if_exception

from milepost.client.errors import MilepostError, with_key
from milepost.client.http_connections import (
    Message,
    Patience,
    Server,
    SyncHttp,
    answer_of,
    may_try_again,
    server_at,
    unreachable,
)
from milepost.client.transport import ApiRequest, ApiResponse, query_text
from milepost.sync.goals import Goals


class HttpTransport:
    """Answers calls from a Milepost over HTTP.

    What changes something bears an Idempotency-Key, so that a request whose answer was lost can be sent again.
    """

    def __init__(self, server: Server, patience: Patience) -> None:
        self._http = SyncHttp(server)
        self._server = server
        self._patience = patience

    def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        key = None if call.method == "GET" else call.idempotency_key or str(uuid4())
        message = Message(
            call.method,
            self._server.url + call.address + query_text(call.query),
            {} if key is None else {"Idempotency-Key": key},
            call.raw_body or None,
        )
        try:
            return self._send(message)
        except httpx2.RequestError as error:
            raise with_key(unreachable(error, self._server), key) from error
        except MilepostError as error:
            with_key(error, key)
            raise

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._http.close()

    def _send(self, message: Message) -> ApiResponse:
        again = retry_if_exception(may_try_again)
        tries = Retrying(retry=again, wait=self._patience.pause_s, stop=self._patience.stop, reraise=True)
        for attempt in tries:
            with attempt:
                return answer_of(self._http.send(message))
        raise AssertionError("the last try returns or raises")


class Client(Goals):
    """The goals of the tenant that an API key stands for; many may use it at once."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        prefix: str = "/goals",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        attempts: int = 6,
        patience_s: float = 45.0,
        first_pause_s: float = 0.2,
    ) -> None:
        """Connect at the first call to the Milepost at `base_url`, or to an application that mounts it at `prefix`.

        `headers` go with every request, for what such an application asks for. A request waits for its answer for
        `timeout_s`, and is sent at most `attempts` times within `patience_s`, with pauses that grow from
        `first_pause_s`. Raises ValueError for an address or a key that can be none.
        """
        self._server = server_at(base_url, prefix, api_key, headers or {}, timeout_s)
        super().__init__(HttpTransport(self._server, Patience(attempts, patience_s, first_pause_s)))

    def __repr__(self) -> str:
        return f"Client({self._server.url!r})"

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
