"""Rows of endpoints: the addresses to which a tenant's messages are delivered."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum

from core.store.driver import Row, Session, Sql


class DisabledReason(StrEnum):
    """Why nothing is sent to an endpoint: a request said so, it answered 410, or it failed for days."""

    REQUEST = "request"
    GONE = "gone"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint. `types` are those that it takes, None all; `rate` is at most so many attempts a second."""

    tenant: str
    endpoint_id: str
    url: str
    description: str | None
    types: list[str] | None
    rate: int | None
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None
    sealed_secrets: bytes = field(repr=False)
    secrets: int
    created_at: datetime
    changed_at: datetime

    @property
    def row(self) -> str:
        """The name of this row; its secrets are sealed for this name."""
        return row_name(self.tenant, self.endpoint_id)


def row_name(tenant: str, endpoint_id: str) -> str:
    """The name for which the secrets of an endpoint are sealed."""
    return f"{tenant}/endpoints/{endpoint_id}"


_COLUMNS = (
    "tenant, endpoint_id, url, description, types, rate, enabled, disabled_reason, disabled_at, failing_since, "
    "sealed_secrets, secrets, created_at, changed_at"
)
_NAMED = "tenant = :tenant AND endpoint_id = :endpoint_id"
_ADD = Sql(f"INSERT INTO endpoints ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in _COLUMNS.split(', '))})")
_READ = Sql(f"SELECT {_COLUMNS} FROM endpoints WHERE {_NAMED}")
_LOCK = Sql(f"SELECT {_COLUMNS} FROM endpoints WHERE {_NAMED} FOR NO KEY UPDATE")
_LIST = Sql(f"SELECT {_COLUMNS} FROM endpoints WHERE tenant = :tenant ORDER BY created_at, endpoint_id")
_COUNT = Sql("SELECT count(*) FROM endpoints WHERE tenant = :tenant")
# An endpoint with another address or rate, or one that is enabled again, is held no longer.
_WRITE = Sql(
    f"""UPDATE endpoints SET url = :url, description = :description, types = CAST(:types AS text[]), rate = :rate,
        enabled = :enabled, disabled_reason = :disabled_reason, disabled_at = :disabled_at,
        failing_since = :failing_since, held_until = NULL, sealed_secrets = :sealed_secrets, secrets = :secrets,
        changed_at = :changed_at
    WHERE {_NAMED}"""
)
_REMOVE = Sql(f"DELETE FROM endpoints WHERE {_NAMED} RETURNING 1")


def add_endpoint(session: Session, endpoint: Endpoint) -> None:
    """Add an endpoint."""
    _ADD.run(session, asdict(endpoint))


def read_endpoint(session: Session, tenant: str, endpoint_id: str) -> Endpoint | None:
    """One endpoint."""
    return _one(_READ.first(session, {"tenant": tenant, "endpoint_id": endpoint_id}))


def lock_endpoint(session: Session, tenant: str, endpoint_id: str) -> Endpoint | None:
    """One endpoint, locked: no delivery of it is claimed or recorded until the transaction ends."""
    return _one(_LOCK.first(session, {"tenant": tenant, "endpoint_id": endpoint_id}))


def list_endpoints(session: Session, tenant: str) -> list[Endpoint]:
    """A tenant's endpoints, the oldest first."""
    return [_endpoint(row) for row in _LIST.rows(session, {"tenant": tenant})]


def count_endpoints(session: Session, tenant: str) -> int:
    """How many endpoints a tenant has."""
    return int(_COUNT.value(session, {"tenant": tenant}))


def write_endpoint(session: Session, endpoint: Endpoint) -> None:
    """Write all of a locked endpoint; it is not held any longer."""
    _WRITE.run(session, asdict(endpoint))


def remove_endpoint(session: Session, tenant: str, endpoint_id: str) -> bool:
    """Delete an endpoint with its deliveries and attempts; False if there is none."""
    return _REMOVE.first(session, {"tenant": tenant, "endpoint_id": endpoint_id}) is not None


def _one(row: Row | None) -> Endpoint | None:
    return None if row is None else _endpoint(row)


def _endpoint(row: Row) -> Endpoint:
    found = dict(zip(_COLUMNS.split(", "), row, strict=True))
    reason = found["disabled_reason"]
    return Endpoint(**{**found, "disabled_reason": None if reason is None else DisabledReason(reason)})
