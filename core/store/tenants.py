"""Rows of tenants (each is one integrating application), of their API keys, and of the audit of what was done."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.settings import DEFAULT_TENANT
from core.store import driver
from core.store.driver import Session, Sql

DEFAULT = DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its IANA time zone."""

    name: str
    time_zone: str

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which its local days begin and end."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class ListedTenant:
    """A tenant as an operator sees it; `keys` counts those that are not revoked."""

    name: str
    time_zone: str
    created_at: datetime
    closed_through: date | None
    keys: int


@dataclass(frozen=True, slots=True)
class Announcing:
    """When a tenant's messages are announced.

    What happened longer than `within_s` seconds before Milepost learned of it is historical. What was reached is
    announced after `after_s` seconds or, with `at_close`, once its day is closed, if it is still so then.
    """

    within_s: int
    after_s: int
    at_close: bool


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as stored; the secret itself is shown only once, when the key is made."""

    tenant: str
    key_id: str
    label: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


_LIST = Sql(
    """SELECT t.tenant, t.time_zone, t.created_at, t.closed_through, count(k.key_id)
    FROM tenants t LEFT JOIN api_keys k ON k.tenant = t.tenant AND k.revoked_at IS NULL
    GROUP BY t.tenant ORDER BY t.tenant"""
)
_READ = Sql("SELECT tenant, time_zone FROM tenants WHERE tenant = ANY(CAST(:names AS text[]))")
_LOCK = Sql("SELECT 1 FROM tenants WHERE tenant = :name FOR UPDATE")
_ADD = Sql(
    """INSERT INTO tenants (tenant, time_zone, created_at) VALUES (:name, :time_zone, :now)
    ON CONFLICT (tenant) DO NOTHING RETURNING tenant"""
)
# Looks at all tenants on purpose: a database that is to be filled with a demo must not have anybody's data.
_ANY_ROWS = Sql("SELECT EXISTS (SELECT FROM goals) OR EXISTS (SELECT FROM accounts)")
_READ_ANNOUNCING = Sql(
    "SELECT announce_within_s, announce_after_s, announce_at_close FROM tenants WHERE tenant = :name"
)
_WRITE_ANNOUNCING = Sql(
    """UPDATE tenants SET announce_within_s = :within_s, announce_after_s = :after_s, announce_at_close = :at_close
    WHERE tenant = :name"""
)
_NOTE_ACT = Sql(
    """INSERT INTO audit (tenant, audit_id, at, actor, action, subject, detail)
    VALUES (:tenant, :audit_id, :at, :actor, :action, :subject, :detail)"""
)
_KEY_COLUMNS = "tenant, key_id, label, scopes, created_at, revoked_at"
_ADD_KEY = Sql(
    """INSERT INTO api_keys (tenant, key_id, key_hash, label, scopes, created_at)
    VALUES (:tenant, :key_id, :key_hash, :label, :scopes, :created_at)
    ON CONFLICT DO NOTHING RETURNING key_id"""
)
_FIND_KEY = Sql(
    f"""SELECT {", ".join(f"k.{c}" for c in _KEY_COLUMNS.split(", "))}, t.time_zone
    FROM api_keys k JOIN tenants t USING (tenant)
    WHERE k.key_hash = :key_hash AND k.revoked_at IS NULL"""
)
_FIND_ANY_KEY = Sql(f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE key_hash = :key_hash")
_KEYS_IN_USE = Sql(
    f"""SELECT tenant, key_id, scopes FROM api_keys JOIN {driver.keys("tenants", "keys")} AS g(tenant, key_id)
    USING (tenant, key_id) WHERE revoked_at IS NULL"""
)
_LIST_KEYS = Sql(f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE tenant = :tenant ORDER BY created_at, key_id")
_REVOKE_KEY = Sql(
    """UPDATE api_keys SET revoked_at = :now
    WHERE tenant = :tenant AND key_id = :key_id AND revoked_at IS NULL RETURNING key_id"""
)


def lock_tenant(session: Session, name: str) -> None:
    """Lock a tenant, so that operations on its keys or on its webhook endpoints run one after the other."""
    _LOCK.run(session, {"name": name})


def read_tenants(session: Session, names: Iterable[str]) -> dict[str, Tenant]:
    """Tenants by name; a name without a tenant is left out."""
    rows = _READ.rows(session, {"names": sorted(set(names))})
    return {row[0]: Tenant(*row) for row in rows}


def list_tenants(session: Session) -> list[ListedTenant]:
    """All tenants by name."""
    return [ListedTenant(*row) for row in _LIST.rows(session, {})]


def add_tenant(session: Session, tenant: Tenant, now: datetime) -> bool:
    """Add a tenant; False if the name is taken."""
    parameters = {"name": tenant.name, "time_zone": tenant.time_zone, "now": now}
    return _ADD.first(session, parameters) is not None


def read_announcing(session: Session, name: str) -> Announcing:
    """When the messages of a tenant, which must exist, are announced."""
    return Announcing(*_READ_ANNOUNCING.one(session, {"name": name}))


def write_announcing(session: Session, name: str, announcing: Announcing) -> None:
    """Change when the messages of a tenant are announced."""
    _WRITE_ANNOUNCING.run(session, {"name": name, **asdict(announcing)})


def is_empty(session: Session) -> bool:
    """Whether the database has no goal and no account, of any tenant."""
    return not _ANY_ROWS.value(session, {})


def note_operation(
    session: Session,
    tenant: str,
    *,
    action: str,
    subject: str,
    at: datetime,
    actor: str = "",
    detail: str | None = None,
) -> None:
    """Record who did what to what, in the transaction of the operation itself."""
    _NOTE_ACT.run(
        session,
        {
            "tenant": tenant,
            "audit_id": uuid.uuid4().hex,
            "at": at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": detail,
        },
    )


def add_key(session: Session, key: ApiKey, key_hash: bytes) -> bool:
    """Store a new key; False if there is one of this hash or id already."""
    parameters = {
        "tenant": key.tenant,
        "key_id": key.key_id,
        "key_hash": key_hash,
        "label": key.label,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
    }
    return _ADD_KEY.first(session, parameters) is not None


def find_key(session: Session, key_hash: bytes) -> tuple[ApiKey, str] | None:
    """The key of this hash that is not revoked, with its tenant's time zone."""
    row = _FIND_KEY.first(session, {"key_hash": key_hash})
    return None if row is None else (_key(row), row[6])


def find_any_key(session: Session, key_hash: bytes) -> ApiKey | None:
    """The key of this hash, of any tenant, revoked or not."""
    row = _FIND_ANY_KEY.first(session, {"key_hash": key_hash})
    return None if row is None else _key(row)


def scopes_in_use(session: Session, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], frozenset[str]]:
    """Which of these keys, given by tenant and id, are not revoked, and what each may do."""
    rows = _KEYS_IN_USE.rows(session, driver.key_columns("keys", keys))
    return {(tenant, key_id): frozenset(scopes) for tenant, key_id, scopes in rows}


def list_keys(session: Session, tenant: str) -> list[ApiKey]:
    """A tenant's keys, the oldest first, including revoked ones."""
    return [_key(row) for row in _LIST_KEYS.rows(session, {"tenant": tenant})]


def revoke_key(session: Session, tenant: str, key_id: str, now: datetime) -> bool:
    """Revoke a key; False if no key of this id is in use."""
    return _REVOKE_KEY.first(session, {"tenant": tenant, "key_id": key_id, "now": now}) is not None


def _key(row: Any) -> ApiKey:
    return ApiKey(row[0], row[1], row[2], tuple(row[3]), row[4], row[5])
