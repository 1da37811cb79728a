"""Rows of what a tenant set up with providers: webhook endpoints, refresh requests, and provider accounts."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from core.store.driver import Session, Sql
from core.store.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook endpoint. Its id cannot be guessed, since nothing else that a provider sends names the tenant."""

    tenant: str
    endpoint_id: str
    provider: str
    label: str
    sealed_secrets: bytes = field(repr=False)
    secrets: int
    created_at: datetime
    changed_at: datetime

    @property
    def row(self) -> str:
        """The name of this row; its secrets are sealed for this name."""
        return f"{self.tenant}/{self.endpoint_id}"


@dataclass(frozen=True, slots=True)
class RefreshRow:
    """A refresh request. `count` is how often it was asked for, `done_count` how many of these times are done."""

    tenant: str
    request_id: str
    provider: str
    subject: str
    kind: str
    reason: str
    opened_at: datetime
    requested_at: datetime
    count: int
    done_count: int

    @property
    def is_open(self) -> bool:
        """Whether it was asked for again since it was last marked as done."""
        return self.done_count < self.count


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """The position of a request in the list of open ones, which begins with the one that has waited longest."""

    opened_at: datetime
    request_id: str


_ENDPOINT_COLUMNS = "tenant, endpoint_id, provider, label, sealed_secrets, secrets, created_at, changed_at"
_ALL = ", ".join(f"e.{column}" for column in _ENDPOINT_COLUMNS.split(", "))
_ADD = Sql(
    f"""INSERT INTO webhook_endpoints ({_ENDPOINT_COLUMNS})
    VALUES (:tenant, :endpoint_id, :provider, :label, :sealed_secrets, :secrets, :created_at, :changed_at)"""
)
_LIST = Sql(
    f"SELECT {_ENDPOINT_COLUMNS} FROM webhook_endpoints WHERE tenant = :tenant ORDER BY created_at, endpoint_id"
)
_LOCK = Sql(
    f"""SELECT {_ENDPOINT_COLUMNS} FROM webhook_endpoints
    WHERE tenant = :tenant AND endpoint_id = :endpoint_id FOR UPDATE"""
)
_CHANGE = Sql(
    """UPDATE webhook_endpoints SET sealed_secrets = :sealed_secrets, secrets = :secrets, changed_at = :changed_at
    WHERE tenant = :tenant AND endpoint_id = :endpoint_id"""
)
_REMOVE = Sql(
    """DELETE FROM webhook_endpoints WHERE tenant = :tenant AND endpoint_id = :endpoint_id RETURNING provider"""
)
_FIND = Sql(
    f"""SELECT {_ALL}, t.time_zone FROM webhook_endpoints e JOIN tenants t USING (tenant)
    WHERE e.endpoint_id = :endpoint_id AND e.provider = :provider"""
)
_FIND_OF_TENANT = Sql(
    f"""SELECT {_ALL}, t.time_zone FROM webhook_endpoints e JOIN tenants t USING (tenant)
    WHERE e.tenant = :tenant AND e.provider = :provider ORDER BY e.created_at, e.endpoint_id"""
)
_FIND_SOLE = Sql(
    f"""SELECT {_ALL}, t.time_zone FROM webhook_endpoints e JOIN tenants t USING (tenant)
    WHERE e.provider = :provider LIMIT 2"""
)
_REFRESH_COLUMNS = "tenant, request_id, provider, subject, kind, reason, opened_at, requested_at, count, done_count"
_NEW_REFRESH = f"""INSERT INTO refresh_requests AS r ({_REFRESH_COLUMNS})
    SELECT :tenant, :request_id, :provider, :subject, :kind, :reason, CAST(:now AS timestamptz), :now, 1, 0"""
_ASK_REFRESH = Sql(
    f"""{_NEW_REFRESH}
    ON CONFLICT (tenant, request_id) DO UPDATE SET
        reason = excluded.reason,
        requested_at = greatest(r.requested_at, excluded.requested_at),
        opened_at = CASE WHEN r.done_count < r.count THEN r.opened_at ELSE excluded.opened_at END,
        count = r.count + 1
    RETURNING {_REFRESH_COLUMNS}"""
)
_ASK_REFRESH_ONCE = Sql(
    f"""WITH given_up AS (
        DELETE FROM refresh_requests WHERE (tenant, request_id) IN (
            SELECT tenant, request_id FROM refresh_requests
            WHERE tenant = :tenant AND kind = :kind AND done_count < count AND request_id <> :request_id
            ORDER BY requested_at DESC, request_id OFFSET :others_most)
        RETURNING request_id)
    {_NEW_REFRESH}
    ON CONFLICT (tenant, request_id) DO UPDATE SET
        requested_at = greatest(r.requested_at, excluded.requested_at),
        opened_at = CASE WHEN r.done_count < r.count THEN r.opened_at ELSE excluded.opened_at END,
        count = CASE WHEN r.done_count < r.count THEN r.count ELSE r.count + 1 END
    RETURNING {_REFRESH_COLUMNS}, (SELECT count(*) FROM given_up)"""
)
_LOCK_REFRESH = Sql(
    f"SELECT {_REFRESH_COLUMNS} FROM refresh_requests WHERE tenant = :tenant AND request_id = :request_id FOR UPDATE"
)
_MARK_REFRESHED = Sql(
    """UPDATE refresh_requests SET done_count = :count, done_at = :now
    WHERE tenant = :tenant AND request_id = :request_id AND done_count < :count"""
)
_FORGET_REFRESHED = Sql(
    """DELETE FROM refresh_requests WHERE (tenant, request_id) IN (
        SELECT tenant, request_id FROM refresh_requests
        WHERE done_count = count AND done_at < :before LIMIT :most FOR UPDATE SKIP LOCKED)"""
)


def add_endpoint(session: Session, endpoint: Endpoint) -> None:
    """Add an endpoint."""
    _ADD.run(session, _values(endpoint))


def list_endpoints(session: Session, tenant: str) -> list[Endpoint]:
    """A tenant's endpoints, the oldest first."""
    return [Endpoint(*row) for row in _LIST.rows(session, {"tenant": tenant})]


def lock_endpoint(session: Session, tenant: str, endpoint_id: str) -> Endpoint | None:
    """One endpoint, locked so that two changes of its secrets run one after the other."""
    row = _LOCK.first(session, {"tenant": tenant, "endpoint_id": endpoint_id})
    return None if row is None else Endpoint(*row)


def change_secrets(session: Session, endpoint: Endpoint) -> None:
    """Write the secrets of a locked endpoint."""
    _CHANGE.run(session, _values(endpoint))


def remove_endpoint(session: Session, tenant: str, endpoint_id: str) -> str | None:
    """Delete an endpoint and return its provider; None if no endpoint has this id."""
    found: str | None = _REMOVE.value(session, {"tenant": tenant, "endpoint_id": endpoint_id})
    return found


def find_endpoint(session: Session, provider: str, endpoint_id: str) -> list[tuple[Endpoint, Tenant]]:
    """The endpoint of this id with its tenant, if it exists and is for this provider; else an empty list."""
    return _found(_FIND.rows(session, {"provider": provider, "endpoint_id": endpoint_id}))


def endpoints_of(session: Session, provider: str, tenant: str) -> list[tuple[Endpoint, Tenant]]:
    """A tenant's endpoints for a provider."""
    return _found(_FIND_OF_TENANT.rows(session, {"provider": provider, "tenant": tenant}))


def sole_endpoint(session: Session, provider: str) -> list[tuple[Endpoint, Tenant]]:
    """The endpoint of a provider if there is exactly one among all tenants; else an empty list."""
    found = _found(_FIND_SOLE.rows(session, {"provider": provider}))
    return found if len(found) == 1 else []


def ask_refresh(session: Session, row: RefreshRow) -> RefreshRow:
    """Open a request, or add one to its count; returns it as it is then.

    A transaction calls this in the order of request_id, so that two transactions wait for each other and do not
    deadlock.
    """
    return RefreshRow(*_ASK_REFRESH.one(session, _named(row)))


def ask_refresh_once(session: Session, row: RefreshRow, *, most: int) -> RefreshRow | None:
    """Open a request, or note that one that is open was asked for again; returns what was opened, if there is room.

    About `most` of its kind stay open: those that were asked for last. Without room another one was closed for it.
    """
    *columns, given_up = _ASK_REFRESH_ONCE.one(session, _named(row) | {"others_most": most - 1})
    asked = RefreshRow(*columns)
    # One that was open keeps the moment of the delivery that opened it.
    return asked if asked.opened_at == row.opened_at and not given_up else None


def list_open(
    session: Session, tenant: str, *, provider: str | None, kind: str | None, after: OpenPosition | None, limit: int
) -> list[RefreshRow]:
    """Open requests of a provider and a kind (None: any), the longest waiting first, starting after `after`."""
    conditions = ["tenant = :tenant", "done_count < count"]
    conditions += [f"{name} = :{name}" for name, value in (("provider", provider), ("kind", kind)) if value is not None]
    if after is not None:
        conditions.append("(opened_at, request_id) > (:opened_at, :request_id)")
    statement = Sql(
        f"""SELECT {_REFRESH_COLUMNS} FROM refresh_requests WHERE {" AND ".join(conditions)}
        ORDER BY opened_at, request_id LIMIT :limit"""
    )
    values: dict[str, object] = {"tenant": tenant, "provider": provider, "kind": kind, "limit": limit}
    if after is not None:
        values |= {"opened_at": after.opened_at, "request_id": after.request_id}
    return [RefreshRow(*row) for row in statement.rows(session, values)]


def lock_refresh(session: Session, tenant: str, request_id: str) -> RefreshRow | None:
    """One refresh request, open or not, locked until the transaction ends."""
    row = _LOCK_REFRESH.first(session, {"tenant": tenant, "request_id": request_id})
    return None if row is None else RefreshRow(*row)


def mark_refreshed(session: Session, row: RefreshRow, count: int, now: datetime) -> None:
    """Record that a locked request is done up to a count; a greater `done_count` stays as it is."""
    _MARK_REFRESHED.run(session, {"tenant": row.tenant, "request_id": row.request_id, "count": count, "now": now})


def forget_refreshed(session: Session, before: datetime, most: int = 10_000) -> int:
    """Delete at most `most` requests that were marked as done before a moment, and return how many. Open ones stay."""
    return _FORGET_REFRESHED.run(session, {"before": before, "most": most})


def _found(rows: Any) -> list[tuple[Endpoint, Tenant]]:
    return [(Endpoint(*row[:8]), Tenant(row[0], row[8])) for row in rows]


def _values(endpoint: Endpoint) -> dict[str, object]:
    return {column: getattr(endpoint, column) for column in _ENDPOINT_COLUMNS.split(", ")}


def _named(row: RefreshRow) -> dict[str, object]:
    return {
        "tenant": row.tenant,
        "request_id": row.request_id,
        "provider": row.provider,
        "subject": row.subject,
        "kind": row.kind,
        "reason": row.reason,
        "now": row.requested_at,
    }


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """A provider's account and the integrator's own id for it; a field that was not given is None."""

    tenant: str
    provider: str
    provider_account_id: str
    account_id: str
    user_id: str | None
    kind: str | None
    currency: str | None
    since: date | None
    connection: str | None
    sign: str | None
    updated_at: datetime


_ACCOUNT_COLUMNS = (
    "tenant, provider, provider_account_id, account_id, user_id, kind, currency, since, connection, sign, updated_at"
)
_NAMED = "tenant = :tenant AND provider = :provider AND provider_account_id = :provider_account_id"
_PUT_ACCOUNT = Sql(
    f"""INSERT INTO provider_accounts ({_ACCOUNT_COLUMNS})
    VALUES ({", ".join(f":{column}" for column in _ACCOUNT_COLUMNS.split(", "))})
    ON CONFLICT (tenant, provider, provider_account_id) DO UPDATE SET
        account_id = excluded.account_id, user_id = excluded.user_id, kind = excluded.kind,
        currency = excluded.currency, since = excluded.since, connection = excluded.connection,
        sign = excluded.sign, updated_at = excluded.updated_at"""
)
_READ_ACCOUNT = Sql(f"SELECT {_ACCOUNT_COLUMNS} FROM provider_accounts WHERE {_NAMED}")
_REMOVE_ACCOUNT = Sql(f"DELETE FROM provider_accounts WHERE {_NAMED} RETURNING 1")
_LIST_ACCOUNTS = Sql(
    f"""SELECT {_ACCOUNT_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND (provider, provider_account_id) > (:provider, :provider_account_id)
    ORDER BY provider, provider_account_id LIMIT :limit"""
)
_LIST_OF_PROVIDER = Sql(
    f"""SELECT {_ACCOUNT_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND provider = :provider AND provider_account_id > :provider_account_id
    ORDER BY provider_account_id LIMIT :limit"""
)
_FIND_ACCOUNTS = Sql(
    f"""SELECT {_ACCOUNT_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND provider = :provider AND provider_account_id = ANY(CAST(:names AS text[]))
    UNION SELECT {_ACCOUNT_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND provider = :provider AND connection = ANY(CAST(:connections AS text[]))"""
)
_KINDS = Sql(
    """SELECT account_id, kind FROM accounts
    WHERE tenant = :tenant AND account_id = ANY(CAST(:names AS text[])) AND kind_rank IS NOT NULL"""
)


def put_provider_account(session: Session, account: ProviderAccount) -> None:
    """Register an account; the row replaces an earlier one of the same provider and id."""
    _PUT_ACCOUNT.run(session, asdict(account))


def read_provider_account(session: Session, tenant: str, provider: str, name: str) -> ProviderAccount | None:
    """One registered account."""
    row = _READ_ACCOUNT.first(session, {"tenant": tenant, "provider": provider, "provider_account_id": name})
    return None if row is None else ProviderAccount(*row)


def remove_provider_account(session: Session, tenant: str, provider: str, name: str) -> bool:
    """Delete a registered account; False if there is none."""
    found = _REMOVE_ACCOUNT.first(session, {"tenant": tenant, "provider": provider, "provider_account_id": name})
    return found is not None


def list_provider_accounts(
    session: Session, tenant: str, *, provider: str | None, after: tuple[str, str] | None, limit: int
) -> list[ProviderAccount]:
    """A tenant's registered accounts, ordered by provider and the provider's id, starting after `after`."""
    from_provider, from_name = after or ("", "")
    position = {"provider": provider or from_provider, "provider_account_id": from_name}
    statement = _LIST_ACCOUNTS if provider is None else _LIST_OF_PROVIDER
    return [ProviderAccount(*row) for row in statement.rows(session, position | {"tenant": tenant, "limit": limit})]


def find_provider_accounts(
    session: Session, tenant: str, provider: str, names: Iterable[str], connections: Iterable[str]
) -> list[ProviderAccount]:
    """The registered accounts of these ids, and all that belong to these connections."""
    wanted = {"tenant": tenant, "provider": provider, "names": sorted(names), "connections": sorted(connections)}
    rows = _FIND_ACCOUNTS.rows(session, wanted)
    return [ProviderAccount(*row) for row in rows]


def known_kinds(session: Session, tenant: str, account_ids: Iterable[str]) -> dict[str, str]:
    """By account id, the kinds of the accounts whose kind an event has set."""
    rows = _KINDS.rows(session, {"tenant": tenant, "names": sorted(account_ids)})
    return {row[0]: row[1] for row in rows}
