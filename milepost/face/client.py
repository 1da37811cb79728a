"""The client: goals kept by a Milepost elsewhere, over REST; needs nothing of Milepost but this package."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from milepost.face.goals import Goals
from milepost.face.http_door import HttpDoor
from milepost.http import Patience, server_at


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
        super().__init__(HttpDoor(self._server, Patience(attempts, patience_s, first_pause_s)))

    def __repr__(self) -> str:
        return f"Client({self._server.url!r})"

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._door.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()
