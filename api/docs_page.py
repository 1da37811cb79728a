"""The page /docs, which needs nothing but this server: Swagger UI comes with us, and the page has no inline script."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

_STATIC = Path(__file__).parent / "static"
_FILES = StaticFiles(directory=_STATIC)
_PAGE = "docs.html"
_BESIDE = (
    "docs.js",
    "swagger-ui/swagger-ui.css",
    "swagger-ui/swagger-ui-bundle.js",
    "swagger-ui/swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui/favicon-32x32.png",
)
# Swagger UI has its icons in its style sheet.
_POLICY: Final = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:"}


def docs_routes() -> tuple[Route, ...]:
    """The page and, below its address, the files that it loads, whose addresses in it are relative."""
    page = Route("/docs", _giving(_PAGE), include_in_schema=False)
    files = [Route(f"/docs/{Path(name).name}", _giving(name), include_in_schema=False) for name in _BESIDE]
    return (page, *files)


def _giving(name: str) -> Callable[[Request], Awaitable[Response]]:
    """A route's function that gives a file, or 304 to a browser that has it."""

    async def give(request: Request) -> Response:
        response = await _FILES.get_response(name, request.scope)
        response.headers.update(_POLICY)
        return response

    return give
