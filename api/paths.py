"""Where a request was sent: its path, for addresses in the answer, and the path that it would have in our own app."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PARAMETER = re.compile(r"\{(\w+)(:\w+)?\}")


class HeadAsGet:
    """Middleware that answers HEAD as the GET of the same address, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # Not a copy of the scope: the router writes the route into it for the log. There the method is HEAD again.
        scope["method"] = "GET"
        try:
            await self.app(scope, receive, without_body)
        finally:
            scope["method"] = "HEAD"


def path_of(request: Request, *last: str) -> str:
    """The path that the request was sent to, encoded anew, so that two spellings of one path become one.

    `last` are the segments at its end, in which slashes are encoded too; needed where one of them may hold slashes.
    """
    path: str = request.scope["path"]
    head = quote(_removed_prefix(request) + path.removesuffix("/".join(last)), safe="/", errors="surrogatepass")
    return head + "/".join(quote(segment, safe="", errors="surrogatepass") for segment in last)


def own_address(template: str) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """A dependency that notes the path of a request in our own app, made from a template such as /goals/{goal_id}."""

    async def bind_address(request: Request) -> None:
        parameters = request.path_params
        request.state.milepost_address = _PARAMETER.sub(lambda found: str(parameters[found[1]]), template)

    return bind_address


def own_address_of(request: Request) -> str:
    """The path, not encoded, that the request would have in our own app, whatever app and prefix it was sent to."""
    address: str = request.state.milepost_address
    return address


def _removed_prefix(request: Request) -> str:
    """The prefix that a proxy removed from the path, as root_path says; the prefix of a mount is never removed."""
    outer: str = request.scope.get("app_root_path", request.scope.get("root_path", "")).rstrip("/")
    path: str = request.scope["path"]
    return "" if path == outer or path.startswith(f"{outer}/") else outer
