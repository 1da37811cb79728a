"""Routes as data: books of them, from which any app gets a router of its own."""

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
    """A route that answers our refusals itself: an app that has it needs no handlers for them.

    All other errors are the app's: those that come while the door is shut, and what FastAPI finds wrong with anything
    but the parameters of the route's function. Where both are wrong, the app answers both.
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
    """Whether all that FastAPI found wrong is wrong with these: no other parameter of ours is validated by it."""
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

    def answers_but(self, left_out: Collection[int]) -> dict[int | str, Any]:
        answers: dict[int | str, Any] = self.options.get("responses", {})
        return {status: answer for status, answer in answers.items() if status not in left_out}


class Routes:
    """A book of routes, whose paths are below `below` in a prefix that only an app knows."""

    def __init__(self, *, tags: Sequence[str], below: str = "") -> None:
        self._tags = tuple(tags)
        self._below = below
        self._entries: list[_Entry] = []

    @classmethod
    def of(cls, *routers: Routes) -> Routes:
        """One book with the routes of several, each with its own tags."""
        whole = cls(tags=())
        whole._entries = [entry for router in routers for entry in router._entries]
        return whole

    def get(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Enter a route; `options` are those of FastAPI's decorators."""
        return self._entered("GET", path, options)

    def post(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Enter a route, as `get` does."""
        return self._entered("POST", path, options)

    def put(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Enter a route, as `get` does."""
        return self._entered("PUT", path, options)

    def patch(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Enter a route, as `get` does."""
        return self._entered("PATCH", path, options)

    def delete(self, path: str, **options: Any) -> Callable[[Function], Function]:
        """Enter a route, as `get` does."""
        return self._entered("DELETE", path, options)

    def _entered(self, method: str, path: str, options: dict[str, Any]) -> Callable[[Function], Function]:
        def enter(function: Function) -> Function:
            self._entries.append(_Entry(method, self._below + path, function, options, self._tags))
            return function

        return enter

    def router(
        self,
        prefix: str,
        *,
        known_as: str | None = None,
        dependencies: Sequence[params.Depends] = (),
        tags: Sequence[str] | None = None,
        undocumented: Collection[int] = (),
        include_in_schema: bool = True,
    ) -> APIRouter:
        """A new router with these routes below `prefix`; `dependencies` run first, and one must bind the door.

        The prefix is in the routes' own paths, where log lines and figures read it, and not left to include_router.
        `known_as` is the prefix that these routes have in our own app, where that is another one: what is kept of a
        request, such as what an Idempotency-Key stands for, has this one wherever the routes are mounted.
        `tags` are instead of the book's; answers with a status of `undocumented` are left out of the OpenAPI text.
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
                **{**entry.options, "responses": entry.answers_but(undocumented)},
            )
        return router
