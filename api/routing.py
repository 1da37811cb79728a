"""Routes as data: what each module of api/routes declares, and the router that an app makes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.context import is_not_admitted
from api.errors import answer_to
from api.paths import own_address
from core.errors import MilepostError

Function = TypeVar("Function", bound=Callable[..., Any])


class AnsweringRoute(APIRoute):
    """A route that answers our refusals itself, so that an app which mounts it needs no handlers for them.

    The app answers all other errors: those before the request is admitted, and what FastAPI finds wrong with anything
    but the parameters of the route's function. If both are wrong, the app answers both.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        ours = {("query", parameter.alias) for parameter in self.dependant.query_params}

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (MilepostError, RequestValidationError) as error:
                refused = answer_to(request, error) if _is_ours(error, ours) and not is_not_admitted(request) else None
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
        dependencies: Sequence[params.Depends] = (),
        tags: Sequence[str] | None = None,
        undocumented: Collection[int] = (),
        include_in_schema: bool = True,
    ) -> APIRouter:
        """A new router with these routes below `prefix`; `dependencies` run first, and one must bind the contexts.

        The prefix is part of each route's own path, where log lines and metrics read it; include_router would not put
        it there. `known_as` is the prefix of these routes in our own app, if it is another one: what is stored of a
        request, such as the name of what an Idempotency-Key was used for, has this prefix wherever the routes are
        mounted. `tags` replace those of the routes. Answers with a status in `undocumented` are left out of the
        OpenAPI text.
        """
        router = APIRouter(
            prefix=prefix,
            dependencies=list(dependencies),
            route_class=AnsweringRoute,
            include_in_schema=include_in_schema,
        )
        for entry in self._entries:
            router.add_api_route(
                entry.path,
                entry.function,
                methods=[entry.method],
                dependencies=[Depends(own_address((known_as or prefix) + entry.path))],
                tags=list(entry.tags if tags is None else tags),
                **{**entry.options, "responses": entry.answers_without(undocumented)},
            )
        return router
