"""What every resource of the interface is made of: requests over one transport, and lists read page by page."""

from collections.abc import Mapping
from typing import Any

from milepost.client import arguments
from milepost.client.records import listed
from milepost.client.rest import Transport
from milepost.client.transport import ApiRequest


class Resource:
    """The requests of one resource, over a transport that all resources of an interface share."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _change(
        self,
        method: str,
        path: tuple[str, ...],
        body: Mapping[str, Any] | None,
        key: str | None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        key = arguments.idempotency_key(key)
        return await self._send(ApiRequest(method, path, query or {}, body=body, idempotency_key=key))

    async def _send(self, request: ApiRequest) -> Any:
        return (await self._transport.send(request)).body

    async def _read(self, path: tuple[str, ...], query: Mapping[str, str] | None = None) -> Any:
        return await self._send(ApiRequest("GET", path, query or {}))

    async def _list(self, path: tuple[str, ...], query: Mapping[str, str] | None = None) -> list[Any]:
        """The items of all pages."""
        return [item for page in await self._pages(path, query) for item in listed(page)]

    async def _pages(self, path: tuple[str, ...], query: Mapping[str, str] | None = None) -> list[Any]:
        """The bodies of all pages."""
        request: ApiRequest | None = ApiRequest("GET", path, query or {})
        found: list[Any] = []
        while request is not None:
            answer = await self._transport.send(request)
            found.append(answer.body)
            request = None if answer.following is None else request.on_page(answer.following)
        return found
