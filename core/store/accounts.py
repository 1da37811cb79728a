"""Rows of accounts: made when first heard of, locked in id order, written back together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from core.events.facts import AccountKind
from core.events.worth import Standing
from core.store import bulk
from core.store.tables import ATTRIBUTES

# (tenant, account_id)
AccountKey = tuple[str, str]


_KINDS: dict[str | bool | None, AccountKind] = {kind.value: kind for kind in AccountKind}


@dataclass(slots=True)
class AccountRow:
    """An account as kept. Mutable: a batch folds into it under the row's lock and writes it back."""

    tenant: str
    account_id: str
    currency: str | None
    values: dict[str, str | bool | None]
    ranks: dict[str, str | None]
    opening_minor: int
    worth_minor: int
    inflow_minor: int
    first_report_at: datetime | None
    last_report_at: datetime | None
    last_transaction_at: datetime | None
    dirty_from: date | None
    late_from: date | None
    late_through: date | None
    link_version: int
    is_changed: bool = field(default=False)
    is_described_anew: bool = field(default=False)

    @property
    def key(self) -> AccountKey:
        """(tenant, account_id)."""
        return self.tenant, self.account_id

    @property
    def kind(self) -> AccountKind:
        """Asset unless told otherwise."""
        return _KINDS[self.values["kind"]]

    @property
    def user_id(self) -> str | None:
        """Whose account it is, as far as that was told."""
        user_id = self.values["user_id"]
        return user_id if isinstance(user_id, str) else None

    @property
    def standing(self) -> Standing:
        """The figures that a fold of worth starts from."""
        return Standing(
            sign=self.kind.sign,
            opening_minor=self.opening_minor,
            worth_minor=self.worth_minor,
            inflow_minor=self.inflow_minor,
            first_report_at=self.first_report_at,
            last_report_at=self.last_report_at,
            last_transaction_at=self.last_transaction_at,
        )


_FIGURES = {
    "currency": bulk.TEXT,
    "opening_minor": bulk.INT8,
    "worth_minor": bulk.INT8,
    "inflow_minor": bulk.INT8,
    "first_report_at": bulk.TIMESTAMPTZ,
    "last_report_at": bulk.TIMESTAMPTZ,
    "last_transaction_at": bulk.TIMESTAMPTZ,
    "dirty_from": bulk.DATE,
    "late_from": bulk.DATE,
    "late_through": bulk.DATE,
}
_ATTRIBUTE_COLUMNS = {
    column: bulk.BOOL if column == "closed" else bulk.TEXT for name in ATTRIBUTES for column in (name, f"{name}_rank")
}
_WRITTEN = _FIGURES | _ATTRIBUTE_COLUMNS
_KEY = {"tenant": bulk.TEXT, "account_id": bulk.TEXT}

_KEYS = f"{bulk.keys('tenants', 'accounts')} AS k(tenant, account_id)"

_ENSURE = text(
    f"""INSERT INTO accounts (tenant, account_id)
    SELECT k.tenant, k.account_id FROM {_KEYS} LEFT JOIN accounts a USING (tenant, account_id)
    WHERE a.account_id IS NULL ORDER BY 1, 2
    ON CONFLICT DO NOTHING"""
)
_COUNT = text(f"SELECT count(*) FROM {_KEYS} JOIN accounts a USING (tenant, account_id)")
_LOCK = text(
    f"""SELECT a.tenant, a.account_id, {", ".join(f"a.{column}" for column in _WRITTEN)}, a.link_version
    FROM {_KEYS} JOIN accounts a USING (tenant, account_id)
    ORDER BY a.tenant, a.account_id FOR NO KEY UPDATE OF a"""
)


def _update(columns: Iterable[str], staging: str) -> TextClause:
    assignments = ", ".join(f"{column} = s.{column}" for column in columns)
    return text(
        f"""UPDATE accounts a SET {assignments} FROM {staging} s
        WHERE a.tenant = s.tenant AND a.account_id = s.account_id"""
    )


_WRITE_WHOLE = _update(_WRITTEN, "staged_accounts")
_WRITE_FIGURES = _update(_FIGURES, "staged_figures")
_RAISE_LINK_VERSION = text(
    "UPDATE accounts SET link_version = link_version + 1 WHERE tenant = :tenant AND account_id = :account_id"
)


def lock_accounts(session: Session, keys: Iterable[AccountKey]) -> dict[AccountKey, AccountRow]:
    """Lock the accounts in id order, making those that are new. Takes all of a batch's accounts in one call.

    New ones are made in id order before any row is locked: whoever wants a row that another is making waits there,
    while it holds nothing that the other could want. Making them while holding others deadlocks.

    No savepoint is set here. A caller may give the locks back by rolling back to one of its own; had an inner one been
    released before, those who wait for the rows would wait for the whole transaction, and it in turn for them.
    """
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    columns = bulk.key_columns("accounts", wanted)
    if session.execute(_COUNT, columns).scalar_one() < len(wanted):
        session.execute(_ENSURE, columns)
    return {(row[0], row[1]): _account(row) for row in session.execute(_LOCK, columns).all()}


def write_accounts(session: Session, rows: Iterable[AccountRow]) -> None:
    """Write back rows that were locked; what describes them only where that changed."""
    described: list[AccountRow] = []
    moved: list[AccountRow] = []
    for row in rows:
        (described if row.is_described_anew else moved).append(row)
    if described:
        bulk.stage(session, "staged_accounts", _KEY | _WRITTEN, (_figures(row) + _attributes(row) for row in described))
        session.execute(_WRITE_WHOLE)
    if moved:
        bulk.stage(session, "staged_figures", _KEY | _FIGURES, (_figures(row) for row in moved))
        session.execute(_WRITE_FIGURES)


def raise_link_version(session: Session, key: AccountKey) -> None:
    """Tell workers that what they remember of this account's links is old. The row must be locked."""
    session.execute(_RAISE_LINK_VERSION, {"tenant": key[0], "account_id": key[1]})


def _account(row: Any) -> AccountRow:
    attributes = row[12:-1]
    return AccountRow(
        tenant=row[0],
        account_id=row[1],
        currency=row[2],
        values=dict(zip(ATTRIBUTES, attributes[0::2], strict=True)),
        ranks=dict(zip(ATTRIBUTES, attributes[1::2], strict=True)),
        opening_minor=row[3],
        worth_minor=row[4],
        inflow_minor=row[5],
        first_report_at=row[6],
        last_report_at=row[7],
        last_transaction_at=row[8],
        dirty_from=row[9],
        late_from=row[10],
        late_through=row[11],
        link_version=row[-1],
    )


def _attributes(row: AccountRow) -> tuple[object, ...]:
    return tuple(value for name in ATTRIBUTES for value in (row.values[name], row.ranks[name]))


def _figures(row: AccountRow) -> tuple[object, ...]:
    return (
        row.tenant,
        row.account_id,
        row.currency,
        row.opening_minor,
        row.worth_minor,
        row.inflow_minor,
        row.first_report_at,
        row.last_report_at,
        row.last_transaction_at,
        row.dirty_from,
        row.late_from,
        row.late_through,
    )
