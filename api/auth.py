"""Authentication in our own app: the API key of a request and its scopes; errors of keys and of signatures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from api.context import Contexts, RequestContext, Result, as_database_away, backends_of, bind_contexts
from core.errors import MilepostError
from core.services.inputs import Caller
from core.services.keys import Scope, authenticate, key_hash

_BEARER = HTTPBearer(auto_error=False, scheme_name="BearerKey", description="The API key")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKeyHeader")


KEYS_KNOWN_MOST, KEYS_KNOWN_S = 10_000, 60
"""For how many keys, and how long, a process remembers whose they are: only to tell whose turn it is."""


class Unauthenticated(MilepostError):
    """The request has no key, or one that is unknown or revoked; the answer does not say which."""

    def __init__(self) -> None:
        super().__init__("A valid API key is needed: Authorization: Bearer KEY")


class ScopeMissing(MilepostError):
    """The key is valid but lacks the scope that the request needs."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"This key lacks the scope {scope}")
        self.scope = scope


class DeliveryRefused(MilepostError):
    """A delivery is not signed with a secret of its address, or there is no such address: both get the same answer."""

    def __init__(self, reason: str, challenge: str) -> None:
        super().__init__("The delivery is not signed as this address asks")
        self.reason = reason
        self.challenge = challenge


@dataclass(frozen=True, slots=True)
class KeyContexts:
    """Opens the context of a request by its key, checked in the transaction in which the request then works."""

    request: Request
    secret: str
    max_body_bytes: int

    async def admit(self, scope: Scope) -> str:
        """As ContextSource.admit; returns the key's id."""
        return await run_sync(self._check, scope)

    async def run(self, function: Callable[[], Result]) -> Result:
        """As ContextSource.run, in the turn of the key's tenant; those with an unknown key wait for each other."""
        state, hashed = self.request.app.state, key_hash(self.secret)
        tenant = state.tenants_of_keys.get(hashed)
        if tenant is None:
            tenant = state.tenants_of_keys[hashed] = await run_sync(self._tenant_name)
        async with state.turns.turn(tenant):
            return await run_sync(function)

    def _tenant_name(self) -> str:
        with as_database_away(), backends_of(self.request).sessions.reading() as session:
            caller = authenticate(session, self.secret)
            return "" if caller is None else caller.tenant.name

    def _check(self, scope: Scope) -> str:
        with self.open(scope):
            caller: Caller = self.request.state.caller
            return caller.key_id

    @contextmanager
    def open(self, scope: Scope | None) -> Iterator[RequestContext]:
        """As ContextSource.open; checks the key in the transaction. Raises Unauthenticated and ScopeMissing too."""
        backends = backends_of(self.request)
        # A goal, its milestones and its links are read one after the other, and must show the same moment.
        begin = backends.sessions.reading if self.request.method == "GET" else backends.sessions.begin
        with as_database_away(), begin() as session:
            caller = authenticate(session, self.secret)
            if caller is None:
                raise Unauthenticated
            self.request.state.caller = caller  # for the log line
            if scope is not None and not _has_scope(caller, scope):
                raise ScopeMissing(scope)
            yield RequestContext(session, caller.tenant, datetime.now(UTC), f"key {caller.key_id}", backends)


async def _key_contexts(contexts: Contexts) -> KeyContexts:
    if not isinstance(contexts, KeyContexts):
        raise RuntimeError("the router of this route was made without bind_key")
    return contexts


ContextsByKey = Annotated[KeyContexts, Depends(_key_contexts)]


async def bind_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> None:
    """Bind contexts that the request's key opens; refuse a request without a key before its body is read.

    For the routers of our own app. The key itself is checked when the context is opened. Raises Unauthenticated.
    """
    secret = bearer.credentials if bearer else header
    if not secret:
        raise Unauthenticated
    bind_contexts(request, KeyContexts(request, secret, request.app.state.settings.max_body_bytes))


def _has_scope(caller: Caller, scope: Scope) -> bool:
    return scope.value in caller.scopes or Scope.ADMIN.value in caller.scopes
