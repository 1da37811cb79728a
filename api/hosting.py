"""The goal routes for any FastAPI app: below its prefix, behind its own auth, for one tenant."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, Signature
from typing import Any, Protocol

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, params

from api.context import DatabaseAway, Load, NoContexts, RequestContext, Result, as_database_away, bind_contexts
from api.routes import funding, goals, milestones
from api.routing import Routes
from core.services.keys import Scope
from core.services.tenants import NoSuchTenant

# The hosting app decides who may ask, and how often, and answers faults, so it documents these answers too.
_OF_THE_APP = frozenset({401, 403, 429, 500})
# The prefix of these routes in our own app.
_GOALS = "/goals"
GOAL_ROUTES = Routes.of(goals.router, milestones.router, funding.router)
"""The routes that every app has which mounts goals; our own app has more."""
_log = logging.getLogger("milepost")


class Host(Protocol):
    """What the mounted routes work on: the transactions of one tenant."""

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        ...

    def context(self, *, reading: bool) -> AbstractContextManager[RequestContext]:
        """Begin a transaction; commits at the end, rolls back on any error. Called from worker threads, many at once.

        If `reading`, it must be read only and see a single moment, as those of Sessions.reading are. Errors
        of the database may be raised as they come, or as a DatabaseAway that the host has logged already. Raises
        NoSuchTenant if there is no such tenant.
        """
        ...


@dataclass(frozen=True, slots=True)
class _HostContexts:
    """Opens the context of any request that the app's own auth let in: such a request has all scopes."""

    host: Host
    is_reading: bool

    @property
    def max_body_bytes(self) -> int:
        return self.host.max_body_bytes

    @contextmanager
    def open(self, _scope: Scope | None) -> Iterator[RequestContext]:
        with as_database_away(), ExitStack() as stack:
            yield self._begin(stack)

    async def admit(self, _scope: Scope | None) -> str:
        """The app has let the request in."""
        return ""

    async def run(self, function: Callable[[], Result]) -> Result:
        """No wait: all requests are of one tenant, and the threads are the app's."""
        return await run_sync(function)

    def note_refused_events(self, _reason: str) -> None:
        """There are no metrics of ours."""

    async def read(self, scope: Scope, load: Load[Result], name: str) -> Result | None:
        """In a transaction of its own."""
        return await run_sync(partial(self._read, scope, load, name))

    def _read(self, scope: Scope, load: Load[Result], name: str) -> Result | None:
        with self.open(scope) as context:
            return load(context.session, context.tenant, [name], context.now).get(name)

    def _begin(self, stack: ExitStack) -> RequestContext:
        """Begin the transaction. Which tenant there is not, is for the app's log, not for callers."""
        try:
            return stack.enter_context(self.host.context(reading=self.is_reading))
        except NoSuchTenant as missing:
            _log.warning("%s", " ".join(str(missing).splitlines()))
            raise DatabaseAway from missing


def goal_router(
    host: Host,
    *,
    prefix: str,
    dependencies: Sequence[params.Depends] = (),
    tags: Sequence[str] | None = None,
    include_in_schema: bool = True,
) -> APIRouter:
    """A router with all routes of goals, milestones and funding below `prefix`, for the tenant of `host`.

    `dependencies` are the app's own auth. They run before anything of ours, and before the body is read; the app
    answers what they raise, and parameters of theirs that do not validate. It does so too for dependencies that the
    app, or a router of it, has for all its routes; but if a parameter of one of these does not validate (a header is
    missing, say), FastAPI still calls ours, and the body is read before the app answers. The routes answer our own
    refusals. An Idempotency-Key is the tenant's: a request that was sent under it to one mount, or to our own app, is
    known at any other. Raises ValueError for a prefix that does not begin with a slash, or ends with one.
    """
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise ValueError(f"prefix: must begin with / and not end with one, as /goals does; got {prefix!r}")

    return GOAL_ROUTES.make_router(
        prefix,
        known_as=_GOALS,
        dependencies=[Depends(_no_contexts), Depends(_bind_after(dependencies, host))],
        tags=tags,
        undocumented=_OF_THE_APP,
        include_in_schema=include_in_schema,
    )


async def _no_contexts(request: Request) -> None:
    bind_contexts(request, NoContexts())


def _bind_after(dependencies: Sequence[params.Depends], host: Host) -> Callable[..., Any]:
    """A dependency that binds the contexts of `host`, and that itself depends on `dependencies`.

    To list it after them would not be enough: if one of them does not validate, FastAPI still calls those that come
    after it in the list, but never one that depends on it.
    """

    async def bind_host(request: Request, **_passed: Any) -> None:
        bind_contexts(request, _HostContexts(host, request.method == "GET"))

    passed = [
        Parameter(f"passed_{number}", Parameter.KEYWORD_ONLY, default=each) for number, each in enumerate(dependencies)
    ]
    request = Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)
    bind_host.__signature__ = Signature([request, *passed])  # type: ignore[attr-defined]  # inspect's own protocol
    return bind_host
