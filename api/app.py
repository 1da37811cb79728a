"""The REST application: its routes, its errors, and what it opens and closes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter
from cachetools import TTLCache
from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from api.auth import KEYS_KNOWN_MOST, KEYS_KNOWN_S, bind_key
from api.context import THREADS, open_backends
from api.errors import answer_errors
from api.hosting import GOAL_ROUTES, OwnHost, bind_own
from api.routes import (
    accounts,
    dead_letters,
    events,
    health,
    history,
    metrics,
    provider_accounts,
    refresh_requests,
    relinks,
    snapshots,
    unapplied,
    webhooks,
)
from api.routing import HeadAsGet, OneLength, Routes, check_parameters
from api.tracing import RequestMetrics, Tracing, request_log
from api.turns import Turns
from core.settings import Settings

ABOUT = """How far people are from a financial goal, and when they will get there.

Send `Authorization: Bearer KEY` (or `X-API-Key: KEY`). Amounts are JSON numbers with exactly the digits of
their currency; decimal strings are accepted too. Times are UTC; one without an offset is read as UTC."""


_BY_KEY = (Depends(bind_key), Depends(check_parameters))
# In the order of /docs. All but two need an API key; of these two, /webhooks checks a signature instead. Providers and
# load balancers may add parameters of their own to the addresses of both.
_ROUTES = (
    ("/goals", Routes.of(GOAL_ROUTES, history.router, snapshots.router), _BY_KEY),
    ("/accounts", accounts.router, _BY_KEY),
    ("/relinks", relinks.router, _BY_KEY),
    ("/events", Routes.of(events.router, unapplied.router), _BY_KEY),
    ("/webhooks", webhooks.router, ()),
    ("/dead-letters", dead_letters.router, _BY_KEY),
    ("/refresh-requests", refresh_requests.router, _BY_KEY),
    ("/provider-accounts", provider_accounts.router, _BY_KEY),
    ("/health", health.public_router, ()),
    ("/health", health.router, _BY_KEY),
    ("/metrics", metrics.router, _BY_KEY),
)
_OF_SERVERS = ("/health", "/metrics")


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
        "X-Request-Id",
    ],
    "expose_headers": ["ETag", "Idempotency-Replayed", "Link", "Location", "Retry-After", "X-Request-Id"],
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
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.settings = settings
    app.add_middleware(HeadAsGet)
    app.add_middleware(OneLength)
    if settings.allowed_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins, **_FROM_BROWSERS)
    app.state.request_metrics, app.state.scrapers = RequestMetrics(), metrics.KnownScrapers()
    app.add_middleware(Tracing, log=request_log(settings.log_level), metrics=app.state.request_metrics)
    app.state.turns, app.state.tenants_of_keys = Turns(), TTLCache(KEYS_KNOWN_MOST, KEYS_KNOWN_S)
    answer_errors(app)
    # Not include_router: that would make every route again for each app, at its first requests.
    app.router.routes.extend(_routes())
    return app


def make_tenant_app(host: OwnHost) -> FastAPI:
    """The application for the code of its own process: all that one tenant may do, without keys and without a log."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.host, app.state.request_metrics = host, RequestMetrics()
    answer_errors(app)
    app.router.routes.extend(_own_routes())
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """All routes, made once for all applications of a process: building their models takes a third of a second."""
    routers = [routes.make_router(prefix, dependencies=dependencies) for prefix, routes, dependencies in _ROUTES]
    return tuple(route for router in routers for route in router.routes)


@cache
def _own_routes() -> tuple[BaseRoute, ...]:
    """Those of a tenant's own resources, made once for all tenants of a process."""
    dependencies = [Depends(bind_own), Depends(check_parameters)]
    routers = [
        routes.make_router(prefix, dependencies=dependencies, has_answers=False)
        for prefix, routes, bound in _ROUTES
        if bound is _BY_KEY and prefix not in _OF_SERVERS
    ]
    return tuple(route for router in routers for route in router.routes)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    app.state.backends = open_backends(app.state.settings, application_name="milepost-api", connections=THREADS)
    try:
        yield
    finally:
        app.state.backends.close()
