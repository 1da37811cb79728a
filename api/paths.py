"""Where a request was sent, for the addresses in its answer: right under any prefix, in any app."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request


def path_of(request: Request, *last: str) -> str:
    """The path that the request was sent to, encoded anew: two spellings of one path are one.

    Of `last`, the segments at its end, slashes are encoded too; they are needed where one may hold any.
    """
    path: str = request.scope["path"]
    head = quote(_outside(request) + path.removesuffix("/".join(last)), safe="/", errors="surrogatepass")
    return head + "/".join(quote(segment, safe="", errors="surrogatepass") for segment in last)


def _outside(request: Request) -> str:
    """What a proxy has taken off the path, if the app was told; a mount's own part is never off."""
    outer: str = request.scope.get("app_root_path", request.scope.get("root_path", "")).rstrip("/")
    path: str = request.scope["path"]
    return "" if path == outer or path.startswith(f"{outer}/") else outer
