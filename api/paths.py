"""Where a request was sent: the path in its app, for the addresses in its answer, and the one that our own app has."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PARAMETER = re.compile(r"\{(\w+)(:\w+)?\}")


class HeadAsGet:
    """Middleware that has HEAD served as the GET of the same address."""

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

        # The same scope, since what the router notes in it is read for the log; there the request is a HEAD again.
        scope["method"] = "GET"
        try:
            await self.app(scope, receive, without_body)
        finally:
            scope["method"] = "HEAD"


def path_of(request: Request, *last: str) -> str:
    """The path that the request was sent to, encoded anew: two spellings of one path are one.

    Of `last`, the segments at its end, slashes are encoded too; they are needed where one may hold any.
    """
    path: str = request.scope["path"]
    head = quote(_outside(request) + path.removesuffix("/".join(last)), safe="/", errors="surrogatepass")
    return head + "/".join(quote(segment, safe="", errors="surrogatepass") for segment in last)


def own_address(template: str) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """A dependency that tells a request's route where it lies in our own app, such as /goals/{goal_id}."""

    async def bind_address(request: Request) -> None:
        parameters = request.path_params
        request.state.milepost_address = _PARAMETER.sub(lambda found: str(parameters[found[1]]), template)

    return bind_address


def own_address_of(request: Request) -> str:
    """The path, not encoded, that the request would have in our own app, whatever app and prefix it was sent to."""
    address: str = request.state.milepost_address
    return address


def _outside(request: Request) -> str:
    """What a proxy has taken off the path, if the app was told; a mount's own part is never off."""
    outer: str = request.scope.get("app_root_path", request.scope.get("root_path", "")).rstrip("/")
    path: str = request.scope["path"]
    return "" if path == outer or path.startswith(f"{outer}/") else outer
