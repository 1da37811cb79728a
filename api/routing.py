"""Routes as data: tables from which any app gets routers of its own; and the path at which a request was sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from inspect import iscoroutinefunction, signature
from typing import Any, ClassVar, TypeAlias, TypeVar, cast
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, params
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import FieldProblem, QueryRefused
from api.context import is_not_admitted
from api.errors import answer_to
from api.names import unknown_names
from api.schemas.rendering import ExactResponse
from core.errors import MilepostError

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

        # An answer without an end would be begun, and its body thrown away, for ever.
        scope.setdefault("state", {})["milepost_is_head"] = True
        # Not a copy of the scope: the router writes the route into it for the log. There the method is HEAD again.
        scope["method"] = "GET"
        try:
            await self.app(scope, receive, without_body)
        finally:
            scope["method"] = "HEAD"


def is_head(request: Request) -> bool:
    """Whether only the head of the answer is wanted, although the method says GET."""
    return getattr(request.state, "milepost_is_head", False)


class OneLength:
    """Middleware that refuses a request with two lengths: Content-Length beside Transfer-Encoding.

    A proxy may go by the other one, and would take what it sees after the body for the next request of somebody else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]} if scope["type"] == "http" else set()
        if {b"content-length", b"transfer-encoding"} <= names:
            body = {"detail": "Send either Content-Length or Transfer-Encoding, not both"}
            await ExactResponse(body, 400, {"Connection": "close"})(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def path_of(request: Request, *last: str) -> str:
    """The path that the request was sent to, encoded anew, so that two spellings of one path become one.

    `last` are the segments at its end, in which slashes are encoded too; needed where one of them may hold slashes.
    """
    path: str = request.scope["path"]
    head = quote(_removed_prefix(request) + path.removesuffix("/".join(last)), safe="/", errors="surrogatepass")
    return head + "/".join(quote(segment, safe="", errors="surrogatepass") for segment in last)


def check_parameters(request: Request) -> None:
    """Raise QueryRefused for parameters that a route of our own app cannot have.

    These are names that it does not have, names that are given twice, since no route takes a list and one of the values
    would be lost, and values with a NUL, which no text in the database can hold. In another app the names are that
    app's affair, whose middleware may read parameters that no route declares.
    """
    if not request.scope["query_string"]:
        return
    given = request.query_params
    problems: list[FieldProblem] = [
        {"loc": ["query", name], "msg": message, "type": "unknown_parameter"}
        for name, message in unknown_names(given, _parameters_of(request.scope["route"].dependant))
    ]
    for name in given if not problems else ():
        values = given.getlist(name)
        if len(values) > 1:
            problems.append({"loc": ["query", name], "msg": "is given twice", "type": "value_error"})
        if any("\x00" in value for value in values):
            problems.append({"loc": ["query", name], "msg": "must not hold a NUL character", "type": "value_error"})
    if problems:
        raise QueryRefused(problems)


def _parameters_of(dependant: Dependant) -> set[str]:
    """The query parameters of a route's function and of all its dependencies."""
    own = {parameter.alias for parameter in dependant.query_params}
    return own.union(*[_parameters_of(each) for each in dependant.dependencies])


def own_address_of(request: Request) -> str:
    """The path, not encoded, that the request would have in our own app, whatever app and prefix it was sent to."""
    parameters, template = request.path_params, request.scope["endpoint"].own_template
    return _PARAMETER.sub(lambda found: str(parameters[found[1]]), template)


def _removed_prefix(request: Request) -> str:
    """The prefix that a proxy removed from the path, as root_path says; the prefix of a mount is never removed."""
    outer: str = request.scope.get("app_root_path", request.scope.get("root_path", "")).rstrip("/")
    path: str = request.scope["path"]
    return "" if path == outer or path.startswith(f"{outer}/") else outer


Function = TypeVar("Function", bound=Callable[..., Any])


Admit: TypeAlias = Callable[[Request], None]
"""Binds the contexts of a request before its body is read, or raises what refuses it."""


class AnsweringRoute(APIRoute):
    """A route that answers our refusals itself, so that an app which mounts it needs no handlers for them.

    The app answers all other errors: those before the request is admitted, and what FastAPI finds wrong with anything
    but the parameters of the route's function. If both are wrong, the app answers both.
    """

    admit: ClassVar[Admit | None] = None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, admit = super().get_route_handler(), type(self).admit
        ours = {("query", parameter.alias) for parameter in self.dependant.query_params}
        # Not those of dependencies: another app's may have the name of a field of our bodies.
        places = {parameter.alias: "path" for parameter in self.dependant.path_params}
        places |= {parameter.alias: "query" for parameter in self.dependant.query_params}

        async def answer(request: Request) -> Response:
            try:
                if admit is not None:
                    admit(request)
                return await handle(request)
            except (MilepostError, RequestValidationError) as error:
                is_answered = _is_ours(error, ours) and not is_not_admitted(request)
                refused = answer_to(request, error, places) if is_answered else None
                if refused is None:
                    raise
                return refused

        return answer


def _is_ours(error: Exception, parameters: Collection[tuple[str, str]]) -> bool:
    """Whether FastAPI found only `parameters` wrong, the ones of ours that it validates; other errors are ours."""
    if not isinstance(error, RequestValidationError):
        return True
    return all(tuple(found["loc"][:2]) in parameters for found in error.errors())


@dataclass(frozen=True, slots=True)
class _Entry:
    method: str
    path: str
    function: Callable[..., Any]
    options: dict[str, Any]
    tags: tuple[str, ...]

    def answers_without(self, left_out: Collection[int]) -> dict[int | str, Any]:
        answers: dict[int | str, Any] = self.options.get("responses", {})
        return {status: answer for status, answer in answers.items() if status not in left_out}


class Routes:
    """The routes of a resource, declared as on an APIRouter; an app makes its own router of them, with its own prefix.

    `below` comes between that prefix and the path of each route.
    """

    def __init__(self, *, tags: Sequence[str], below: str = "") -> None:
        self._tags = tuple(tags)
        self._below = below
        self._entries: list[_Entry] = []

    @classmethod
    def of(cls, *routers: Routes) -> Routes:
        """The routes of several in one, each with its own tags."""
        whole = cls(tags=())
        whole._entries = [entry for router in routers for entry in router._entries]
        return whole

    def get(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Declare a route; `options` are those of FastAPI's decorators."""
        return self._register("GET", path, options)

    def post(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Declare a route, as `get` does."""
        return self._register("POST", path, options)

    def put(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Declare a route, as `get` does."""
        return self._register("PUT", path, options)

    def patch(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Declare a route, as `get` does."""
        return self._register("PATCH", path, options)

    def delete(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Declare a route, as `get` does."""
        return self._register("DELETE", path, options)

    def _register(self, method: str, path: str, options: dict[str, Any]) -> Callable[[Function], Function]:
        def add(function: Function) -> Function:
            self._entries.append(_Entry(method, self._below + path, function, options, self._tags))
            return function

        return add

    def make_router(
        self,
        prefix: str,
        *,
        known_as: str | None = None,
        admit: Admit | None = None,
        dependencies: Sequence[params.Depends] = (),
        tags: Sequence[str] | None = None,
        undocumented: Collection[int] = (),
        include_in_schema: bool = True,
        has_answers: bool = True,
        has_ids: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> APIRouter:
        """A new router with these routes below `prefix`.

        Either `admit` binds the contexts, in our own apps, or one of the `dependencies`, which are another app's. For
        our apps FastAPI's dependencies would take longer than the rest of a route.

        The prefix is part of each route's own path, where log lines and metrics read it; include_router would not put
        it there. `known_as` is the prefix of these routes in our own app, if it is another one: what is stored of a
        request, such as the name of what an Idempotency-Key was used for, has this prefix wherever the routes are
        mounted. `tags` replace those of the routes. Answers with a status in `undocumented` are left out of the
        OpenAPI text. Without `has_answers` no answer is described, which takes a tenth of the time. With `has_ids`
        the operations have the ids that they declare, which would clash in an app that mounts them twice; else FastAPI
        makes ids from their paths. `extra` goes into the OpenAPI text of each route.
        """
        router = APIRouter(
            prefix=prefix,
            dependencies=list(dependencies),
            route_class=type("AnsweringRoute", (AnsweringRoute,), {"admit": admit and staticmethod(admit)}),
            include_in_schema=include_in_schema,
        )
        for entry in self._entries:
            router.add_api_route(
                entry.path,
                _endpoint(entry.function, (known_as or prefix) + entry.path),
                methods=[entry.method],
                tags=list(entry.tags if tags is None else tags),
                **{
                    **entry.options,
                    "operation_id": entry.options.get("operation_id") if has_ids else None,
                    "responses": entry.answers_without(undocumented) if has_answers else {},
                    "openapi_extra": {**entry.options.get("openapi_extra", {}), **(extra or {})},
                },
            )
        return router


def _endpoint(function: Function, own_template: str) -> Function:
    """A route's function as FastAPI calls it, with the path that it has in our own app.

    It waits for the caller's turn before it takes a thread; a coroutine takes none, nor does a route without contexts.
    The body is read by then, so that a slow one takes no turn.
    """
    if iscoroutinefunction(function):

        async def endpoint(**values: Any) -> Any:
            return await function(**values)

    elif "contexts" in signature(function).parameters:

        async def endpoint(**values: Any) -> Any:
            return await values["contexts"].run(partial(function, **values))

    else:

        async def endpoint(**values: Any) -> Any:
            return await run_sync(partial(function, **values))

    endpoint = wraps(function)(endpoint)
    endpoint.own_template = own_template  # type: ignore[attr-defined]
    return cast(Function, endpoint)
