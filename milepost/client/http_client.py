"""The client: Milepost's interface over REST, of a running Milepost or of an application that mounts goals."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from milepost.client.http_connections import GOALS, AsyncHttp, server_at
from milepost.client.interface import Interface
from milepost.client.rest import Transport
from milepost.client.transport import Patience


class Client(Interface):
    """The goals of the tenant to which an API key belongs, and all else in it; many may use it at once."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        prefix: str = GOALS,
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
        super().__init__(Transport(AsyncHttp(self._server), Patience(attempts, patience_s, first_pause_s)))

    def __repr__(self) -> str:
        return f"Client({self._server.url + self._server.goals!r})"

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()
