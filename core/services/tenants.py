"""Tenants: create one, and look one up that must exist."""

import re
from datetime import datetime, timedelta
from zoneinfo import available_timezones

from core.errors import Conflict, InvalidField, NotFound
from core.store.driver import Session
from core.store.monitoring import knows_time_zone
from core.store.tenants import (
    Announcing,
    Tenant,
    add_tenant,
    note_operation,
    read_announcing,
    read_tenants,
    write_announcing,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)
_ANNOUNCE_MOST = timedelta(days=366)


class NoSuchTenant(NotFound):
    """There is no tenant of this name."""

    def __init__(self, name: str) -> None:
        super().__init__("Tenant", name)
        self.args = (f"there is no tenant {name}; `milepost tenants list` shows those that there are",)


def create_tenant(session: Session, name: str, time_zone: str, now: datetime, *, actor: str = "") -> Tenant:
    """Make a tenant; raises InvalidField, and Conflict if the name is taken."""
    if not _NAME.fullmatch(name):
        raise InvalidField("name", "must be 1 to 63 of a-z, 0-9, '_', '.', '-', the first a letter or digit")
    tenant = Tenant(name, check_time_zone(time_zone))
    if not knows_time_zone(session, time_zone):
        # The verification computes local days by the database's time zone data.
        raise InvalidField("time_zone", f"the database does not know {time_zone!r}: update its time zone data")
    if not add_tenant(session, tenant, now):
        raise Conflict(f"there is a tenant {name} already")
    note_operation(session, name, action="tenant.created", subject=name, at=now, actor=actor, detail=time_zone)
    return tenant


def set_announcing(
    session: Session,
    name: str,
    now: datetime,
    *,
    within: timedelta | None = None,
    after: timedelta | None = None,
    at_close: bool | None = None,
    actor: str = "",
) -> Announcing:
    """Change when a tenant's messages are announced, of those that are not yet; None leaves a part as it is.

    Raises NoSuchTenant, and InvalidField for a time below 0 or above a year.
    """
    require_tenant(session, name)
    before = read_announcing(session, name)
    announcing = Announcing(
        before.within_s if within is None else _seconds("announce_within", within),
        before.after_s if after is None else _seconds("announce_after", after),
        before.at_close if at_close is None else at_close,
    )
    if announcing != before:
        write_announcing(session, name, announcing)
        detail = f"within {announcing.within_s} s, after {announcing.after_s} s, at close: {announcing.at_close}"
        note_operation(session, name, action="tenant.announcing", subject=name, at=now, actor=actor, detail=detail)
    return announcing


def _seconds(field: str, time: timedelta) -> int:
    if not timedelta(0) <= time <= _ANNOUNCE_MOST:
        raise InvalidField(field, f"must be between 0 and {_ANNOUNCE_MOST.days} days")
    return int(time.total_seconds())


def require_tenant(session: Session, name: str) -> Tenant:
    """The tenant of this name; raises NoSuchTenant."""
    found = read_tenants(session, [name]).get(name)
    if found is None:
        raise NoSuchTenant(name)
    return found


def check_time_zone(time_zone: str) -> str:
    """Return the name of an IANA time zone unchanged; raises InvalidField for any other name.

    `localtime` and `Factory` are refused: they are files of the time zone data, but not zones.
    """
    if time_zone not in available_timezones() - {"localtime", "Factory"}:
        raise InvalidField("time_zone", f"{time_zone!r} is not an IANA time zone such as Europe/Prague")
    return time_zone
