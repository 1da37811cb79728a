"""Whether the API runs, and whether what it needs is there."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired

from fastapi import Request
from psycopg import Error as DatabaseError
from pydantic import Field, with_config
from redis.exceptions import RedisError
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import Contexts, as_database_away, backends_of
from api.routing import Routes
from api.schemas.documented import answers
from api.schemas.rendering import ExactResponse
from core.errors import MilepostError
from core.store.database import ping
from core.store.migrate import is_behind

OK = "ok"

router = Routes(tags=["health"])
public_router = Routes(tags=["health"])
"""The routes that need no key."""


@with_config(title="Liveness")
class LiveBody(TypedDict):
    """The process answers."""

    status: Annotated[Literal["live"], Field(description="always `live`")]


@with_config(title="Readiness")
class ReadyBody(TypedDict):
    """All parts work."""

    status: Annotated[Literal["ready"], Field(description="always `ready`")]
    database: Annotated[Literal["ok"], Field(description="always `ok`")]
    stream: Annotated[Literal["ok"], Field(description="always `ok`")]


@with_config(title="NotReady")
class NotReadyBody(TypedDict):
    """What is not ready, with the state of each part: `ok`, or what is wrong with it."""

    detail: Annotated[str, Field(description="what is wrong, as text for a person")]
    database: Annotated[
        NotRequired[str], Field(description="`ok`, or what is wrong with the database; missing if it is away")
    ]
    stream: Annotated[
        NotRequired[str], Field(description="`ok`, or what is wrong with the stream; missing if the database is away")
    ]


def _document_readiness() -> dict[int | str, dict[str, Any]]:
    documented = answers(200, ReadyBody, "Yes", never=(403,))
    return documented | {503: {**documented[503], "description": "Not now", "model": NotReadyBody}}


@public_router.get(
    "/live",
    summary="Is the process alive",
    operation_id="getLiveness",
    responses=answers(200, LiveBody, "Yes", never=(401, 403, 422, 429)),
)
async def live() -> Response:
    """Answers as long as the process does, without a key."""
    return ExactResponse({"status": "live"})


@router.get("/ready", summary="Can requests be served", operation_id="getReadiness", responses=_document_readiness())
def ready(request: Request, contexts: Contexts) -> Response:
    """Check the database, its migrations and the stream; takes any key."""
    with contexts.open(None) as context:
        database = _state(lambda: ping(context.session))
    if database == OK:
        with as_database_away():
            database = "not migrated: run `milepost migrate`" if is_behind(backends_of(request).sessions) else OK
    stream = _state(lambda: backends_of(request).stream.ping())
    if database == stream == OK:
        return ExactResponse({"status": "ready", "database": database, "stream": stream})
    wrong = [part for part in (f"database: {database}", f"stream: {stream}") if not part.endswith(f": {OK}")]
    body = {"detail": f"Not ready: {'; '.join(wrong)}", "database": database, "stream": stream}
    return ExactResponse(body, status_code=503, headers={"Retry-After": "2"})


def _state(check: Callable[[], object]) -> str:
    try:
        check()
    except MilepostError as error:
        return str(error)
    except (DatabaseError, RedisError) as error:
        return f"not available ({type(error).__name__})"
    return OK
