"""The REST application: its routes, its errors, and what it opens and closes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from importlib.metadata import version
from typing import Any, Final

from anyio import CapacityLimiter
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from api.auth import SECURITY_SCHEMES, KnownKeys, bind_key
from api.connections import STREAMS
from api.context import READING_THREADS, THREADS, open_backends
from api.docs_page import docs_routes
from api.errors import answer_errors
from api.feed import Feed
from api.limits import Limits
from api.openapi import complete
from api.reads import SharedReads
from api.resources import RESOURCES
from api.routes import health, message_stream, metrics, webhooks
from api.routing import HeadAsGet, OneLength, check_parameters
from api.tracing import RequestMetrics, Tracing, request_log
from api.turns import Turns
from core.services.webhooks import sealer_of
from core.settings import Settings
from core.store.database import listen_url

ABOUT = """How far people are from a financial goal, and when they will get there.

Send `Authorization: Bearer KEY` (or `X-API-Key: KEY`). Amounts are JSON numbers with exactly the digits of
their currency; decimal strings are accepted too. Times are UTC; one without an offset is read as UTC."""


def _admit_by_key(request: Request) -> None:
    bind_key(request)
    check_parameters(request)


_KEY_NEEDED: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
# All but two of these need an API key; of the two, /webhooks checks a signature instead. Providers and load balancers
# may add parameters of their own to the addresses of both.
_OF_A_TENANT = [
    *((prefix, routes, True) for prefix, routes in RESOURCES),
    ("/messages/stream", message_stream.router, True),
]
_OF_THE_INSTALLATION = (
    ("/webhooks", webhooks.router, False),
    ("/health", health.public_router, False),
    ("/health", health.router, True),
    ("/metrics", metrics.router, True),
)


# The key is a header that the page sends itself, so no cookies, and no Access-Control-Allow-Credentials.
_FROM_BROWSERS: Final[dict[str, Any]] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": [
        "Authorization",
        "X-API-Key",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "Last-Event-ID",
        "X-Request-Id",
    ],
    "expose_headers": [
        "ETag",
        "Idempotency-Replayed",
        "Link",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "X-Request-Id",
    ],
    "max_age": 600,
}


def make_app(settings: Settings) -> FastAPI:
    """The application. It connects to its servers at the first request and closes the connections when it stops."""
    app = FastAPI(
        title="Milepost",
        version=version("milepost"),
        description=ABOUT,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.add_middleware(HeadAsGet)
    app.add_middleware(OneLength)
    if settings.allowed_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins, **_FROM_BROWSERS)
    app.state.request_metrics, app.state.scrapers = RequestMetrics(), metrics.KnownScrapers()
    app.add_middleware(Tracing, log=request_log(settings.log_level), metrics=app.state.request_metrics)
    app.state.limits, app.state.turns = Limits(settings), Turns()
    app.state.known_keys = KnownKeys()
    answer_errors(app)
    app.openapi = partial(_document, app, app.openapi)  # type: ignore[method-assign]
    # Not include_router: that would make every route again for each app, at its first requests.
    app.router.routes.extend((*_routes(), *docs_routes()))
    return app


def _document(app: FastAPI, document: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI text, made at the first request for it: FastAPI's, and what it does not know of."""
    if app.openapi_schema is None:
        app.openapi_schema = complete(document())
    return app.openapi_schema


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """All routes, made once for all applications of a process: building their models takes a third of a second."""
    routers = [
        routes.make_router(prefix, admit=_admit_by_key, has_ids=True, extra={"security": _KEY_NEEDED})
        if needs_key
        else routes.make_router(prefix, has_ids=True)
        for prefix, routes, needs_key in (*_OF_A_TENANT, *_OF_THE_INSTALLATION)
    ]
    return tuple(route for router in routers for route in router.routes)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    current_default_thread_limiter().total_tokens = THREADS
    app.state.backends = open_backends(
        app.state.settings, application_name="milepost-api", connections=THREADS + READING_THREADS
    )
    app.state.reading = CapacityLimiter(READING_THREADS)
    app.state.reads = SharedReads(app.state.backends.sessions, app.state.turns, app.state.reading)
    app.state.sealer = sealer_of(app.state.settings)
    app.state.feed = Feed(
        app.state.backends.sessions,
        app.state.reading,
        listen_url(app.state.settings),
        render=message_stream.format_message,
        format_id=message_stream.format_position,
        noted=app.state.request_metrics.note_listeners,
    )
    try:
        yield {STREAMS: app.state.feed}
    finally:
        await app.state.feed.close()
        app.state.backends.close()
