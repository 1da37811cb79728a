"""The application for the code of one process: all that one tenant may do, without keys, a log and metrics."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

from fastapi import FastAPI, Request
from starlette.routing import BaseRoute

from api.context import Load, RequestContext, Result, bind_contexts
from api.errors import answer_errors
from api.resources import RESOURCES
from api.routing import check_parameters
from core.services.keys import Scope
from core.store.driver import read_shortly


class OwnHost(Protocol):
    """What the application of a process works on: the transactions of one tenant, and threads."""

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        ...

    def own_context(self, *, reading: bool, is_single: bool = False) -> AbstractContextManager[RequestContext]:
        """Begin a transaction, as Host.context; its errors may say why there is no database.

        With `is_single` each statement is a transaction by itself, for a block that reads by one.
        """
        ...

    async def in_thread(self, function: Callable[[], Result]) -> Result:
        """Call the function in a thread of the process's own."""
        ...


@dataclass(frozen=True, slots=True)
class _OwnContexts:
    """Opens the context of a request of the process itself: it may do everything in its tenant."""

    host: OwnHost
    is_reading: bool

    @property
    def max_body_bytes(self) -> int:
        return self.host.max_body_bytes

    def open(self, _scope: Scope | None) -> AbstractContextManager[RequestContext]:
        return self.host.own_context(reading=self.is_reading)

    async def admit(self, _scope: Scope | None) -> str:
        return ""

    async def run(self, function: Callable[[], Result]) -> Result:
        return await self.host.in_thread(function)

    def note_refused_events(self, _reason: str) -> None:
        pass

    async def read(self, _scope: Scope, load: Load[Result], name: str) -> Result | None:
        return await self.host.in_thread(partial(read_shortly, partial(self._read, load, name)))

    def _read(self, load: Load[Result], name: str, is_single: bool) -> Result | None:
        with self.host.own_context(reading=True, is_single=is_single) as context:
            return load(context.session, context.tenant, [name], context.now).get(name)


def make_tenant_app(host: OwnHost) -> FastAPI:
    """The application of a tenant."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.host = host
    answer_errors(app)
    app.router.routes.extend(_routes())
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Made once for all tenants of a process."""
    routers = [routes.make_router(prefix, admit=_admit, has_answers=False) for prefix, routes in RESOURCES]
    return tuple(route for router in routers for route in router.routes)


def _admit(request: Request) -> None:
    """Bind the contexts of the tenant that the application was made for; no header and no key chooses another."""
    bind_contexts(request, _OwnContexts(request.app.state.host, request.method == "GET"))
    check_parameters(request)
