"""GET /metrics: the figures of the whole system, in the text format of Prometheus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Lock

from fastapi import Request
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from api.auth import DoorByKey, KeyDoor, Unauthenticated
from api.backends import backends_of
from api.documented import answers
from api.doors import DatabaseAway
from api.metric_families import database_families, stream_families, up_family
from api.routes import Routes
from core.requests.read_metrics import DatabaseFigures, read_database_figures, read_stream_figures

book = Routes(tags=["health"])

_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}


class KnownScrapers:
    """The keys that were good when the database was last asked about them, as hashes; the latest few.

    Keys are kept in the database. While that is away, such a key still gets the figures that do not need it: the
    outage is what they are asked for.
    """

    MOST = 64

    def __init__(self) -> None:
        self._known: dict[bytes, None] = {}
        self._lock = Lock()

    def note(self, secret: str) -> None:
        """Remember a key that was found good."""
        with self._lock:
            self._known.pop(_hash(secret), None)
            self._known[_hash(secret)] = None
            if len(self._known) > self.MOST:
                del self._known[next(iter(self._known))]

    def forget(self, secret: str) -> None:
        """Forget a key that was found bad."""
        with self._lock:
            self._known.pop(_hash(secret), None)

    def knows(self, secret: str) -> bool:
        """Whether a key was good when last asked about."""
        return _hash(secret) in self._known


class _Page(Collector):
    """Families that were read for one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


@book.get("", summary="Prometheus metrics", responses=answers(200, None, "The figures") | {200: _TEXT})
def metrics(request: Request, door: DoorByKey) -> Response:
    """Everything to watch, for all tenants together and naming none; takes any key.

    A server that is away is told by `milepost_up`, with the figures of the other one beside it.
    """
    now = datetime.now(UTC)
    backends = backends_of(request)
    database = _database_figures(request.app.state.scrapers, door, now)
    stream = read_stream_figures(backends.redis, backends.stream, now)
    families = [up_family({"database": database is not None, "stream": stream is not None})]
    families += [] if database is None else database_families(database, now)
    families += [] if stream is None else stream_families(stream, now)
    families += request.app.state.request_metrics.families()
    return Response(generate_latest(_Page(families)), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _database_figures(scrapers: KnownScrapers, door: KeyDoor, now: datetime) -> DatabaseFigures | None:
    """What the database shows; None while it is away. Raises as the door does, also then for a key not known here."""
    try:
        with door.open(None) as visit:
            scrapers.note(door.secret)
            return read_database_figures(visit.session, now)
    except Unauthenticated:
        scrapers.forget(door.secret)
        raise
    except DatabaseAway:
        if scrapers.knows(door.secret):
            return None
        raise


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
