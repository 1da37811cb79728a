# Generated from milepost/client by `make sync-client`; change it there.
"""The client: the goals of a running Milepost, over REST. A call is one request, sent again until it is answered."""

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
    """Sends requests to a Milepost over HTTP.

    A request that changes something has an Idempotency-Key, so that it can be sent again if its answer was lost.
    """

    def __init__(self, server: Server, patience: Patience) -> None:
        self._http = SyncHttp(server)
        self._server = server
        self._patience = patience

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        key = None if request.method == "GET" else request.idempotency_key or str(uuid4())
        message = Message(
            request.method,
            self._server.url + request.address + query_text(request.query),
            {} if key is None else {"Idempotency-Key": key},
            request.raw_body or None,
        )
        try:
            return self._send_with_retries(message)
        except httpx2.RequestError as error:
            raise with_key(unreachable(error, self._server), key) from error
        except MilepostError as error:
            with_key(error, key)
            raise

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._http.close()

    def _send_with_retries(self, message: Message) -> ApiResponse:
        retry = retry_if_exception(may_try_again)
        attempts = Retrying(retry=retry, wait=self._patience.pause_s, stop=self._patience.stop, reraise=True)
        for attempt in attempts:
            with attempt:
                return answer_of(self._http.send(message))
        raise AssertionError("the last try returns or raises")


class Client(Goals):
    """The goals of the tenant to which an API key belongs; many may use it at once."""

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

        `headers` go with every request, for what such an application asks for. A request waits `timeout_s` for its
        answer, and is sent at most `attempts` times within `patience_s`, with pauses that grow from
        `first_pause_s`. Raises ValueError for what cannot be an address or a key.
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
