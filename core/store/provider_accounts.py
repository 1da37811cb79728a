"""Rows of provider accounts: what the integrator registered about them, by the provider's own ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


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
    updated_at: datetime


_COLUMNS = "tenant, provider, provider_account_id, account_id, user_id, kind, currency, since, connection, updated_at"
_NAMED = "tenant = :tenant AND provider = :provider AND provider_account_id = :provider_account_id"
_PUT = text(
    f"""INSERT INTO provider_accounts ({_COLUMNS})
    VALUES ({", ".join(f":{column}" for column in _COLUMNS.split(", "))})
    ON CONFLICT (tenant, provider, provider_account_id) DO UPDATE SET
        account_id = excluded.account_id, user_id = excluded.user_id, kind = excluded.kind,
        currency = excluded.currency, since = excluded.since, connection = excluded.connection,
        updated_at = excluded.updated_at"""
)
_READ = text(f"SELECT {_COLUMNS} FROM provider_accounts WHERE {_NAMED}")
_REMOVE = text(f"DELETE FROM provider_accounts WHERE {_NAMED} RETURNING 1")
_LIST = text(
    f"""SELECT {_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND (provider, provider_account_id) > (:provider, :provider_account_id)
    ORDER BY provider, provider_account_id LIMIT :limit"""
)
_LIST_OF_PROVIDER = text(
    f"""SELECT {_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND provider = :provider AND provider_account_id > :provider_account_id
    ORDER BY provider_account_id LIMIT :limit"""
)
_FIND = text(
    f"""SELECT {_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND provider = :provider AND provider_account_id = ANY(CAST(:names AS text[]))
    UNION SELECT {_COLUMNS} FROM provider_accounts
    WHERE tenant = :tenant AND provider = :provider AND connection = ANY(CAST(:connections AS text[]))"""
)
_KINDS = text(
    """SELECT account_id, kind FROM accounts
    WHERE tenant = :tenant AND account_id = ANY(CAST(:names AS text[])) AND kind_rank IS NOT NULL"""
)


def put_provider_account(session: Session, account: ProviderAccount) -> None:
    """Register an account; the row replaces an earlier one of the same provider and id."""
    session.execute(_PUT, asdict(account))


def read_provider_account(session: Session, tenant: str, provider: str, name: str) -> ProviderAccount | None:
    """One registered account."""
    row = session.execute(_READ, {"tenant": tenant, "provider": provider, "provider_account_id": name}).first()
    return None if row is None else ProviderAccount(*row)


def remove_provider_account(session: Session, tenant: str, provider: str, name: str) -> bool:
    """Delete a registered account; False if there is none."""
    found = session.execute(_REMOVE, {"tenant": tenant, "provider": provider, "provider_account_id": name}).first()
    return found is not None


def list_provider_accounts(
    session: Session, tenant: str, *, provider: str | None, after: tuple[str, str] | None, limit: int
) -> list[ProviderAccount]:
    """A tenant's registered accounts, ordered by provider and the provider's id, starting after `after`."""
    from_provider, from_name = after or ("", "")
    position = {"provider": provider or from_provider, "provider_account_id": from_name}
    statement = _LIST if provider is None else _LIST_OF_PROVIDER
    return [ProviderAccount(*row) for row in session.execute(statement, position | {"tenant": tenant, "limit": limit})]


def find_provider_accounts(
    session: Session, tenant: str, provider: str, names: Iterable[str], connections: Iterable[str]
) -> list[ProviderAccount]:
    """The registered accounts of these ids, and all that belong to these connections."""
    wanted = {"names": sorted(names), "connections": sorted(connections)}
    rows = session.execute(_FIND, {"tenant": tenant, "provider": provider} | wanted)
    return [ProviderAccount(*row) for row in rows]


def known_kinds(session: Session, tenant: str, account_ids: Iterable[str]) -> dict[str, str]:
    """By account id, the kinds of the accounts whose kind an event has set."""
    rows = session.execute(_KINDS, {"tenant": tenant, "names": sorted(account_ids)})
    return {row[0]: row[1] for row in rows}
