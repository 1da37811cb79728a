"""Quotas of a tenant: how many goals it has, and how many of its events wait, against what it may have.

Without a setting nothing is counted. Requests at the same moment may go a little beyond a quota.
"""

from core.errors import QuotaExceeded
from core.settings import Settings
from core.store.driver import Session, Sql
from core.store.positions import Position, read_positions
from core.store.tenants import Tenant
from core.stream.stream import EventStream

_SAMPLE = 200
_GOALS = Sql("SELECT count(*) FROM (SELECT FROM goals WHERE tenant = :tenant LIMIT :most) AS found")
_DEAD_LETTERS = Sql(
    """SELECT count(*) FROM (SELECT FROM dead_letters
        WHERE tenant = :tenant AND replayed_at IS NULL AND discarded_at IS NULL LIMIT :most) AS found"""
)


def require_room_for_goal(session: Session, tenant: Tenant, settings: Settings) -> None:
    """Raise QuotaExceeded if the tenant has as many goals as it may have."""
    most = settings.goals_most
    if most is not None and _GOALS.value(session, {"tenant": tenant.name, "most": most}) >= most:
        raise QuotaExceeded("goals", most, "delete some first, or have it raised")


def require_room_for_events(session: Session, tenant: Tenant, stream: EventStream, settings: Settings) -> None:
    """Raise QuotaExceeded if as many dead letters or events of the tenant wait as may; raises StreamUnavailable too."""
    most = settings.dead_letters_most
    if most is not None and _DEAD_LETTERS.value(session, {"tenant": tenant.name, "most": most}) >= most:
        raise QuotaExceeded("dead letters that wait", most, "replay or discard some first")
    most = settings.waiting_most
    if most is not None and _waiting(session, tenant, stream) >= most:
        raise QuotaExceeded("events that wait", most, "send more when they are applied")


def _waiting(session: Session, tenant: Tenant, stream: EventStream) -> int:
    """About how many events of the tenant wait: its share of the next ones of each shard, times all that wait there."""
    positions = read_positions(session)
    return sum(
        status.unapplied * _share_of(tenant, stream, status.shard, positions.get(status.shard, Position())) // 100
        for status in stream.status(positions)
        if status.unapplied
    )


def _share_of(tenant: Tenant, stream: EventStream, shard: int, position: Position) -> int:
    """The tenant's share, in percent, of the entries that a shard's drain applies next."""
    tenants = stream.tenants_after(shard, position.entry_id, _SAMPLE)
    return 100 * tenants.count(tenant.name) // len(tenants) if tenants else 0
