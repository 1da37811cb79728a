"""Authentication in our own app: the API key of a request and its scopes; errors of keys and of signatures."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from cachetools import TTLCache
from fastapi import Request

from api.context import Load, RequestContext, Result, as_database_away, backends_of, bind_contexts
from api.limits import Limits
from api.reads import SharedReads
from core.errors import MilepostError
from core.services.inputs import Caller
from core.services.keys import Scope, authenticate, key_hash

SECURITY_SCHEMES = {
    "BearerKey": {"type": "http", "scheme": "bearer", "description": "The API key"},
    "ApiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""Either of these, for the OpenAPI text."""


KEYS_KNOWN_MOST, KEYS_KNOWN_S, LOOK_UP_MOST_S = 10_000, 4, 1
"""For how many keys, and how long, a process remembers whose they are and what they may do.

It does not if the database took longer than LOOK_UP_MOST_S to say so, so a revoked key is known for 5 s at most.
"""
ONCE_VALID_S = 3600
"""How long a process remembers that a key was valid: others at its address, who guess keys, do not stop it."""
_UNKNOWN_KEYS = ""


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


class KnownKeys:
    """The hashes of keys that a process has looked up: whose they are, for a moment; and that they were valid."""

    def __init__(self) -> None:
        self.callers: TTLCache[bytes, Caller] = TTLCache(KEYS_KNOWN_MOST, KEYS_KNOWN_S)
        self.once_valid: TTLCache[bytes, None] = TTLCache(KEYS_KNOWN_MOST, ONCE_VALID_S)


@dataclass(frozen=True, slots=True)
class KeyContexts:
    """Opens the context of a request by its key."""

    request: Request
    secret: str
    max_body_bytes: int

    async def admit(self, scope: Scope | None) -> str:
        """As ContextSource.admit; returns the key's id."""
        caller = await self._caller()
        if scope is not None:
            _require(caller, scope)
        return caller.key_id

    async def run(self, function: Callable[[], Result]) -> Result:
        """As ContextSource.run, in the turn of the key's tenant. Raises Unauthenticated."""
        caller = await self._caller()
        async with self.request.app.state.turns.turn(caller.tenant.name):
            # It may have waited long, and the key may have been revoked meanwhile.
            await self._caller()
            return await run_sync(function, limiter=self._reading if self.request.method == "GET" else None)

    def note_refused_events(self, reason: str) -> None:
        """As ContextSource.note_refused_events."""
        self.request.app.state.request_metrics.note_refused_events(reason)

    async def read(self, scope: Scope, load: Load[Result], name: str) -> Result | None:
        """As ContextSource.read, together with what others of the tenant ask for."""
        caller = await self._caller()
        _require(caller, scope)
        reads: SharedReads = self.request.app.state.reads
        found = await reads.get(caller.tenant, load, name)
        # It may have taken long, and the key may have been revoked meanwhile.
        await self._caller()
        return found

    @contextmanager
    def open(self, scope: Scope | None) -> Iterator[RequestContext]:
        """As ContextSource.open, within `run` or after `look_up`. Raises ScopeMissing too."""
        caller: Caller = self.request.state.caller
        if scope is not None:
            _require(caller, scope)
        backends = backends_of(self.request)
        # A goal, its milestones and its links are read one after the other, and must show the same moment.
        begin = backends.sessions.reading if self.request.method == "GET" else backends.sessions.begin
        with as_database_away(), begin() as session:
            yield RequestContext(session, caller.tenant, datetime.now(UTC), f"key {caller.key_id}", backends)

    @property
    def _reading(self) -> CapacityLimiter:
        """The threads of requests that only read."""
        return cast(CapacityLimiter, self.request.app.state.reading)

    async def _caller(self) -> Caller:
        """Whose key it is, as it was at most 5 s ago; counts the request once.

        Raises Unauthenticated, RateExceeded and TooManyRequests.
        """
        keys: KnownKeys = self.request.app.state.known_keys
        limits: Limits = self.request.app.state.limits
        hashed = key_hash(self.secret)
        caller = keys.callers.get(hashed)
        if caller is None:
            caller = await self._look_up_known(keys, limits, hashed)
        state = self.request.state
        state.caller = caller
        if not hasattr(state, "rate_limit"):
            state.rate_limit = limits.use_key(caller.tenant.name, caller.key_id)
        return caller

    async def _look_up_known(self, keys: KnownKeys, limits: Limits, hashed: bytes) -> Caller:
        began_s = time.monotonic()
        try:
            if hashed in keys.once_valid:
                caller = await run_sync(self.look_up, limiter=self._reading)
            else:
                limits.check_address(self.request)
                async with self.request.app.state.turns.turn(_UNKNOWN_KEYS):
                    caller = await run_sync(self.look_up, limiter=self._reading)
        except Unauthenticated:
            keys.once_valid.pop(hashed, None)
            limits.use_address(self.request)
            raise
        keys.once_valid[hashed] = None
        if time.monotonic() - began_s <= LOOK_UP_MOST_S:
            keys.callers[hashed] = caller
        return caller

    def look_up(self) -> Caller:
        """Whose key it is now, which `open` then goes by. Raises Unauthenticated and DatabaseAway."""
        with as_database_away(), backends_of(self.request).sessions.single() as session:
            caller = authenticate(session, self.secret)
        if caller is None:
            raise Unauthenticated
        self.request.state.caller = caller
        return caller


def bind_key(request: Request) -> None:
    """Bind contexts that the request's key opens; refuse a request without a key before its body is read.

    For the routers of our own app. The key itself is checked when the route begins. Raises Unauthenticated and
    RateExceeded.
    """
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    secret = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")
    if not secret:
        request.app.state.limits.use_address(request)
        raise Unauthenticated
    bind_contexts(request, KeyContexts(request, secret, request.app.state.settings.max_body_bytes))


def contexts_by_key(request: Request) -> KeyContexts:
    """The contexts of a request in our own app."""
    contexts = request.state.milepost_contexts
    if not isinstance(contexts, KeyContexts):
        raise RuntimeError("the router of this route was made without bind_key")
    return contexts


def has_scope(scopes: Collection[str], scope: Scope) -> bool:
    """Whether a key with these scopes may do what needs `scope`."""
    return scope.value in scopes or Scope.ADMIN.value in scopes


def _require(caller: Caller, scope: Scope) -> None:
    if not has_scope(caller.scopes, scope):
        raise ScopeMissing(scope)
