"""Whether the API runs, and whether what it needs is there."""

from collections.abc import Callable

from fastapi import Request
from psycopg import Error as DatabaseError
from redis.exceptions import RedisError
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import Contexts, as_database_away, backends_of
from api.routing import Routes
from api.schemas.documented import answers
from api.schemas.goals import ExactResponse
from core.errors import MilepostError
from core.store.database import ping
from core.store.migrate import is_behind

OK = "ok"

router = Routes(tags=["health"])
public_router = Routes(tags=["health"])
"""The routes that need no key."""


class LiveBody(TypedDict):
    """The process answers."""

    status: str


class ReadyBody(TypedDict):
    """The state of each part: `ok`, or what is wrong with it."""

    status: str
    database: str
    stream: str


@public_router.get("/live", summary="Is the process alive", responses={200: {"model": LiveBody}})
async def live() -> Response:
    """Answers as long as the process does, without a key."""
    return ExactResponse({"status": "live"})


@router.get("/ready", summary="Can requests be served", responses=answers(200, ReadyBody, "Yes"))
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
