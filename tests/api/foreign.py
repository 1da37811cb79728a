"""An app that is not ours, with routes, handlers, middleware and auth of its own, on which tests mount the goals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import psycopg
from fastapi import APIRouter, FastAPI, Header, HTTPException, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response

from api.context import Backends, RequestContext
from core.services.quotas import SentEvents
from core.settings import Settings
from core.store.database import Sessions
from core.store.tenants import Tenant


@dataclass(frozen=True)
class TenantHost:
    """One tenant of a database."""

    sessions: Sessions
    tenant: str = "default"
    max_body_bytes: int = 100_000

    @property
    def _backends(self) -> Backends:
        return Backends(self.sessions, Settings(), None, SentEvents(None))

    @contextmanager
    def context(self, *, reading: bool) -> Iterator[RequestContext]:
        """A transaction of the tenant."""
        begin = self.sessions.reading if reading else self.sessions.begin
        with begin() as session:
            yield RequestContext(session, Tenant(self.tenant, "UTC"), datetime.now(UTC), "host", self._backends)


class SignedOut(Exception):
    """What the app raises and handles by itself."""


def foreign_app(*routers: APIRouter) -> FastAPI:
    """The app; whatever its handlers answer says `foreign`, and all its answers have X-Foreign."""
    app = FastAPI(title="Foreign")

    @app.get("/things/{number}")
    def thing(number: int) -> dict[str, int]:
        if number < 0:
            raise HTTPException(404, "no such thing", headers={"X-Thing": "none"})
        if number == 0:
            raise SignedOut
        return {"number": number}

    for router in routers:
        app.include_router(router)

    @app.middleware("http")
    async def mark(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["X-Foreign"] = "yes"
        return response

    for kind, status in ((RequestValidationError, 499), (SignedOut, 419), (psycopg.Error, 599)):
        app.add_exception_handler(kind, _says(kind.__name__, status))

    @app.exception_handler(StarletteHTTPException)
    def refuse(_request: Request, error: HTTPException) -> Response:
        return JSONResponse({"foreign": error.detail}, error.status_code, headers=error.headers)

    return app


def _says(name: str, status: int) -> Callable[[Request, Exception], Response]:
    return lambda _request, _error: JSONResponse({"foreign": name}, status)


_BEARER = HTTPBearer(auto_error=False, scheme_name="ForeignToken")


async def signed_in(given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> str:
    """The app's own auth: 401 without a token, 403 for a wrong one, SignedOut and a database error for two others."""
    token = given.credentials if given else None
    if token is None:
        raise HTTPException(401, "who are you?", headers={"WWW-Authenticate": "Foreign"})
    if token == "signed-out":
        raise SignedOut
    if token == "unlucky":
        raise psycopg.OperationalError("the app's own database is away")
    if token != "good":
        raise HTTPException(403, "not you")
    return token


async def with_header(x_token: Annotated[int, Header()]) -> int:
    """Another auth of the app's, whose header FastAPI validates."""
    return x_token
