"""Quotas of a tenant: how many goals it has, and how many of its events wait, against what it may have.

Without a setting nothing is counted. Requests at the same moment may go a little beyond a quota.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from threading import Lock

from core.errors import QuotaExceeded
from core.settings import Settings
from core.store.driver import Session, Sql
from core.store.positions import Position, read_positions
from core.store.tenants import Tenant
from core.stream.entries import EntryOrder, parse_id
from core.stream.stream import EntryKey

KEPT = timedelta(hours=1)
_GOALS = Sql("SELECT count(*) FROM (SELECT FROM goals WHERE tenant = :tenant LIMIT :most) AS found")
_DEAD_LETTERS = Sql(
    """SELECT count(*) FROM (SELECT FROM dead_letters
        WHERE tenant = :tenant AND replayed_at IS NULL AND discarded_at IS NULL LIMIT :most) AS found"""
)


class SentEvents:
    """The events that this process has put on the stream and that are not applied yet, of each tenant.

    Only their entries say whose the events on the stream are, and to read them all would take too long. What other
    processes sent is left out, and so is what was sent more than KEPT ago: a stream server that lost entries would
    otherwise never let the tenant send again. Any number of threads may use it.

    Of each shard it keeps runs of entries that follow each other: the id of the last one, and how many they are. A run
    has at most a thousandth of `most`, so this is about as exact.
    """

    def __init__(self, most: int | None) -> None:
        self._longest = max(1, (most or 0) // 1_000)
        self._runs: dict[str, dict[int, deque[tuple[EntryOrder, int]]]] = {}
        self._lock = Lock()

    def add(self, tenant: str, entries: Iterable[EntryKey]) -> None:
        """Note entries of a tenant."""
        with self._lock:
            shards = self._runs.setdefault(tenant, {})
            for shard, entry_id in entries:
                runs = shards.setdefault(shard, deque())
                last, length = runs.pop() if runs and runs[-1][1] < self._longest else ((0, 0), 0)
                # Of two requests at the same moment, either may be the first to note its entries.
                runs.append((max(last, parse_id(entry_id)), length + 1))

    def waiting(self, tenant: str, positions: Mapping[int, Position], now: datetime) -> int:
        """How many of a tenant's events wait; those of a run do until the last one is applied."""
        forgotten = int((now - KEPT).timestamp() * 1_000), 0
        with self._lock:
            shards = self._runs.get(tenant, {})
            for shard, runs in list(shards.items()):
                applied = max(parse_id(positions.get(shard, Position()).entry_id), forgotten)
                while runs and runs[0][0] <= applied:
                    runs.popleft()
                if not runs:
                    del shards[shard]
            if not shards:
                self._runs.pop(tenant, None)
            return sum(length for runs in shards.values() for _, length in runs)


def require_room_for_goal(session: Session, tenant: Tenant, settings: Settings) -> None:
    """Raise QuotaExceeded if the tenant has as many goals as it may have."""
    most = settings.goals_most
    if most is not None and _GOALS.value(session, {"tenant": tenant.name, "most": most}) >= most:
        raise QuotaExceeded("goals", most, "delete some first, or have it raised")


def require_room_for_events(
    session: Session, tenant: Tenant, sent: SentEvents, settings: Settings, now: datetime
) -> None:
    """Raise QuotaExceeded if as many dead letters or events of the tenant wait as may."""
    most = settings.dead_letters_most
    if most is not None and _DEAD_LETTERS.value(session, {"tenant": tenant.name, "most": most}) >= most:
        raise QuotaExceeded("dead letters that wait", most, "replay or discard some first")
    most = settings.waiting_most
    if most is not None and sent.waiting(tenant.name, read_positions(session), now) >= most:
        raise QuotaExceeded("events that wait", most, "send more when they are applied")
