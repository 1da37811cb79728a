"""Who may ask: the key of a request, its scopes, and the one transaction that the request gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from api.backends import backends_of
from api.read_cache import ReadCache
from core.errors import MilepostError
from core.requests.authenticate import authenticate
from core.requests.keys import Scope
from core.requests.values import Caller
from core.store.tenants import Tenant


class Unauthenticated(MilepostError):
    """The request has no key, or one that is unknown or revoked: the answer does not tell which."""

    def __init__(self) -> None:
        super().__init__("A valid API key is needed: Authorization: Bearer KEY")


class ScopeMissing(MilepostError):
    """The key is good, but not for this."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"This key lacks the scope {scope}")
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Visit:
    """One admitted request: its transaction, its tenant, and its moment."""

    session: Session
    tenant: Tenant
    now: datetime
    read_cache: ReadCache


@dataclass(frozen=True, slots=True)
class DoorKeeper:
    """Admits a request by its key, in the transaction in which the request then works."""

    request: Request
    secret: str

    @contextmanager
    def open(self, scope: Scope | None) -> Iterator[Visit]:
        """Begin the transaction and check the key; commits at the end, rolls back on any error.

        The transaction of a GET cannot write, and all that it reads is of one moment. `None` takes any key. Raises
        Unauthenticated and ScopeMissing. To be called from a worker thread only after the body has been read, so that
        a slow client never holds a connection.
        """
        backends = backends_of(self.request)
        sessions = backends.reading if self.request.method == "GET" else backends.sessions
        with sessions.begin() as session:
            caller = authenticate(session, self.secret)
            if caller is None:
                raise Unauthenticated
            self.request.state.caller = caller  # for the log line
            if scope is not None and not _may(caller, scope):
                raise ScopeMissing(scope)
            yield Visit(session, caller.tenant, datetime.now(UTC), backends.read_cache)


def _may(caller: Caller, scope: Scope) -> bool:
    return scope.value in caller.scopes or Scope.ADMIN.value in caller.scopes


_BEARER = HTTPBearer(auto_error=False, scheme_name="BearerKey", description="The API key")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKeyHeader")


async def _at_the_door(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> DoorKeeper:
    """Refuse a request without any key before its body is read; the key itself is checked later."""
    secret = bearer.credentials if bearer else header
    if not secret:
        raise Unauthenticated
    return DoorKeeper(request, secret)


Door = Annotated[DoorKeeper, Depends(_at_the_door)]
