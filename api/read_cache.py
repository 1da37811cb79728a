"""The read cache: answers about a goal, kept for the version that they were made from, so that none is ever stale."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from cachetools import TTLCache
from sqlalchemy.orm import Session
from starlette.responses import Response

from core.requests.goal_access import find_version
from core.store.tenants import Tenant

MOST_BYTES = 32 * 2**20
"""What all kept answers together may take, about; the least recently used ones make room."""

_OVERHEAD_BYTES = 500

# (tenant, goal id, version, and what was asked about the goal)
Key = tuple[object, ...]
# (body, headers)
Kept = tuple[bytes, tuple[tuple[bytes, bytes], ...]]


class ReadCache:
    """Answers to GETs that depend on nothing but a goal's version. Off with `seconds` 0.

    The version is read from Postgres in the same request, so what any process has written shows at once; `seconds`
    only says how long an answer that no one needs takes up room.
    """

    def __init__(self, seconds: int) -> None:
        self._kept: TTLCache[Key, Kept] | None = None
        if seconds:
            self._kept = TTLCache(MOST_BYTES, ttl=seconds, getsizeof=lambda kept: len(kept[0]) + _OVERHEAD_BYTES)
        self._lock = Lock()

    def answer(
        self, session: Session, tenant: Tenant, goal_id: str, asked: Key, make: Callable[[], Response]
    ) -> Response:
        """What `make` answers in this transaction, which must be of one moment, or did for the same version before.

        Raises NotFound, and what `make` raises.
        """
        if self._kept is None:
            return make()
        version = find_version(session, tenant, goal_id)
        key = (tenant.name, goal_id, version, *asked)
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            # Two readers at once may both make it; the two answers are the same.
            made = make()
            kept = (bytes(made.body), tuple(made.raw_headers))
            if len(kept[0]) + _OVERHEAD_BYTES <= MOST_BYTES:
                with self._lock:
                    self._kept[key] = kept
        # A response of its own for each request, since middleware adds headers to it.
        response = Response(kept[0])
        response.raw_headers = list(kept[1])
        return response
