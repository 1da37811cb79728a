"""The goal routes for any FastAPI app: below its prefix, behind its own auth, for one tenant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any, Protocol

from fastapi import APIRouter, Depends, Request, params

from api.context import DatabaseAway, NoContexts, RequestContext, as_database_away, bind_contexts
from api.routes import funding, goals, milestones
from api.routing import Routes
from core.services.keys import Scope
from core.services.tenants import NoSuchTenant

# Who may ask is for the app to say, and to document.
_OF_THE_APP = frozenset({401, 403})
# Where these routes lie in our own app.
_GOALS = "/goals"
_log = logging.getLogger("milepost")


class Host(Protocol):
    """What an app mounts the routes on: the transactions of one tenant."""

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        ...

    def context(self, *, reading: bool) -> AbstractContextManager[RequestContext]:
        """Begin a transaction; commits at the end, rolls back on any error. Called from worker threads, many at once.

        If `reading`, it must be read only and of one moment, as those of api.context.reading_sessions are. What the
        database does wrong may be raised as it comes, or as a DatabaseAway that the host has noted in its log; where
        there is no such tenant, NoSuchTenant.
        """
        ...


@dataclass(frozen=True, slots=True)
class _HostContexts:
    """Lets in whoever has come past the app's own auth: all scopes are theirs."""

    host: Host
    is_reading: bool

    @property
    def max_body_bytes(self) -> int:
        return self.host.max_body_bytes

    @contextmanager
    def open(self, _scope: Scope | None) -> Iterator[RequestContext]:
        with as_database_away(), ExitStack() as stack:
            yield self._enter(stack)

    def _enter(self, stack: ExitStack) -> RequestContext:
        """Begin the visit. What keeps the app from its goals, with paths and names, is not for whoever asks it."""
        try:
            return stack.enter_context(self.host.context(reading=self.is_reading))
        except DatabaseAway as trouble:
            raise DatabaseAway from trouble.__cause__ or trouble
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

    `dependencies` are the app's own auth: they run before anything of ours, and before the body is read; what they
    raise, and what does not validate in them, is the app's to answer. So is that of dependencies which the app, or a
    router of it, has for all its routes; but when such a one does not validate (a header of it is missing, say),
    FastAPI goes on to ours, and the body is read before the app answers. Our refusals are answered in the routes. An
    Idempotency-Key is the tenant's: what was sent under it to one mount, or to our own app, is known at any other.
    Raises ValueError for a prefix that does not begin with a slash, or ends with one.
    """
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise ValueError(f"prefix: must begin with / and not end with one, as /goals does; got {prefix!r}")

    router = Routes.of(goals.router, milestones.router, funding.router)
    return router.router(
        prefix,
        known_as=_GOALS,
        dependencies=[Depends(_no_contexts), Depends(_bound_after(dependencies, host))],
        tags=tags,
        undocumented=_OF_THE_APP,
        include_in_schema=include_in_schema,
    )


async def _no_contexts(request: Request) -> None:
    bind_contexts(request, NoContexts())


def _bound_after(dependencies: Sequence[params.Depends], host: Host) -> Callable[..., Any]:
    """A dependency that binds the door of `host`, and that has `dependencies` itself.

    Beside it they would not do: where one of them does not validate, FastAPI still calls those that come after it, but
    never one that depends on it.
    """

    async def bind_host(request: Request, **_passed: Any) -> None:
        bind_contexts(request, _HostContexts(host, request.method == "GET"))

    passed = [
        Parameter(f"passed_{number}", Parameter.KEYWORD_ONLY, default=each) for number, each in enumerate(dependencies)
    ]
    request = Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)
    bind_host.__signature__ = Signature([request, *passed])  # type: ignore[attr-defined]  # inspect's own protocol
    return bind_host
