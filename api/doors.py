"""The door of a request: what its router was made with, by which its route gets a transaction of one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import Depends, Request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.read_cache import ReadCache
from core.errors import MilepostError
from core.requests.keys import Scope
from core.store.engine import is_database_trouble
from core.store.tenants import Tenant


class DatabaseAway(MilepostError):
    """The database is away or overloaded; what it said is the cause, which is for the log alone."""

    def __init__(self) -> None:
        super().__init__("The database is not available")


@dataclass(frozen=True, slots=True)
class Visit:
    """One admitted request: its transaction, its tenant, and its moment."""

    session: Session
    tenant: Tenant
    now: datetime
    read_cache: ReadCache


class RequestDoor(Protocol):
    """Lets one request in. Routes know no more of who asks, so that they serve in any app."""

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        ...

    def open(self, scope: Scope | None) -> AbstractContextManager[Visit]:
        """Begin the transaction, if the caller has the scope; commits at the end, rolls back on any error.

        The transaction of a GET cannot write, and all that it reads is of one moment. `None` takes any caller. Raises
        DatabaseAway for what the database does wrong in it. To be called from a worker thread only after the body has
        been read, so that a slow client never holds a connection.
        """
        ...


class ShutDoor:
    """Bound until the app that hosts the routes has let the request in: till then nothing is read or done for it."""

    max_body_bytes = 0

    def open(self, _scope: Scope | None) -> AbstractContextManager[Visit]:
        """A route that comes this far is a fault of ours, never a way in."""
        raise RuntimeError("the app that hosts this route has not let the request in")


def bind_door(request: Request, door: RequestDoor) -> None:
    """Have the route of this request open `door`; for a dependency of its router."""
    request.state.milepost_door = door


async def bound_door(request: Request) -> RequestDoor:
    """The door that was bound; a router that binds none is a fault of ours, never a way in."""
    door: RequestDoor | None = getattr(request.state, "milepost_door", None)
    if door is None:
        raise RuntimeError("the router of this route was made without a dependency that binds its door")
    return door


def is_shut(request: Request) -> bool:
    """Whether the app that hosts the route has still to let the request in, so that what is raised is the app's."""
    return isinstance(getattr(request.state, "milepost_door", None), ShutDoor)


Door = Annotated[RequestDoor, Depends(bound_door)]


@contextmanager
def database_trouble_told() -> Iterator[None]:
    """Raise what the database does wrong in here as DatabaseAway: an error of ours, told from those of other databases.

    What it refuses of the data stays as it is: that is a fault of ours.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not is_database_trouble(error):
            raise
        raise DatabaseAway from error
