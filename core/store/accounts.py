"""Rows of accounts: made when first seen, locked in id order, read and written back under their locks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from msgspec import Struct, field

from core.events.currency import CurrencyFact, SaidBy
from core.events.facts import AccountKind, AttributeValue
from core.events.worth import WorthState
from core.store import driver
from core.store.driver import Row, Savepoint, Session, Sql

# (tenant, account_id)
AccountKey = tuple[str, str]

KINDS = {kind.value: kind for kind in AccountKind}
_CURRENCY_EVENT = ("currency_time", "currency_source", "currency_event_id")
_FOLDED_COLUMNS = (
    "opening_minor",
    "worth_minor",
    "inflow_minor",
    "first_report_at",
    "last_report_at",
    "last_transaction_at",
    "first_recorded_at",
    "last_recorded_at",
    "known_by_rows_at",
    "lends",
    "has_dates",
    "last_window_at",
    "dirty_from",
    "late_from",
    "late_through",
)


class StoredAttribute(NamedTuple):
    """An attribute's value, and the rank of the event that set it; None where no event did."""

    value: AttributeValue
    rank: str | None


class AccountRow(Struct):
    """An account as stored. Mutable: under the row's lock a batch notes on it what its facts change.

    `attributes` is filled only by `read_attributes`, since most batches set none. A Struct is made in a third of the
    time of a dataclass.
    """

    tenant: str
    account_id: str
    currency: str | None
    kind: AccountKind
    is_kind_known: bool
    user_id: str | None
    is_closed: bool
    currency_from: str | None
    currency_time: datetime | None
    currency_source: str | None
    currency_event_id: str | None
    opening_minor: int
    worth_minor: int
    inflow_minor: int
    first_report_at: datetime | None
    last_report_at: datetime | None
    last_transaction_at: datetime | None
    first_recorded_at: datetime | None
    last_recorded_at: datetime | None
    known_by_rows_at: datetime | None
    lends: bool
    has_dates: bool
    last_window_at: datetime | None
    dirty_from: date | None
    late_from: date | None
    late_through: date | None
    has_span: bool
    is_changed: bool = False
    is_described_anew: bool = False
    attributes: dict[str, StoredAttribute] = field(default_factory=dict)

    @property
    def key(self) -> AccountKey:
        """(tenant, account_id)."""
        return self.tenant, self.account_id

    def may_have_moved_since(self, moment: datetime) -> bool:
        """Whether what links measure may have moved at a moment or later."""
        last = self.last_transaction_at, self.last_report_at
        return self.has_span or any(at is not None and at >= moment for at in last)

    @property
    def worth_state(self) -> WorthState:
        """The state that a fold of worth starts from."""
        return WorthState(
            self.kind.sign,
            self.opening_minor,
            self.worth_minor,
            self.inflow_minor,
            self.first_report_at,
            self.last_report_at,
            self.last_transaction_at,
        )

    @property
    def currency_fact(self) -> CurrencyFact | None:
        """The fact that decides the currency; None while no fact says one."""
        if self.currency is None or self.currency_from is None:
            return None
        event = self.currency_time, self.currency_source, self.currency_event_id
        return CurrencyFact(SaidBy(self.currency_from), self.currency, *event)

    def set_currency(self, fact: CurrencyFact | None) -> None:
        """Note the fact that decides the currency from now on."""
        self.currency = self.currency_from = self.currency_time = self.currency_source = self.currency_event_id = None
        if fact is not None:
            self.currency_from, self.currency, self.currency_time, self.currency_source, self.currency_event_id = fact
        self.is_changed = True

    def set_attribute(self, name: str, stored: StoredAttribute) -> None:
        """Set an attribute; `attributes` must have been read."""
        self.attributes[name] = stored
        self.is_changed = self.is_described_anew = True
        if name == "kind":
            self.kind, self.is_kind_known = KINDS[str(stored.value)], True
        elif name == "user_id":
            self.user_id = None if stored.value is None else str(stored.value)
        elif name == "closed":
            self.is_closed = bool(stored.value)


class Held(Struct, frozen=True, gc=False):
    """What a batch needs to know of a locked account if all that it has for it is new and later than its reports.

    `place` is where the row is in its table; while it is locked only a write of the transaction itself moves it.
    `replaces`: whether any transaction of the account replaces another one. `lends`: whether any was removed that was
    booked with a date only. `has_dates`: whether anything was stated of one that has only a date. `last_window_at`: the
    time of its last window; what is reported earlier may count as removed. `currency_event`: time, source and id of the
    event of the row that decides the currency; None if a stronger fact does. `has_span`: it counts only for a time, or
    a statement connects it with another one. `known_by_rows_at`: from when on its rows suffice; an earlier first row
    makes it earlier.
    """

    place: bytes
    currency: str | None
    last_report_at: datetime | None
    replaces: bool
    lends: bool
    has_dates: bool
    last_window_at: datetime | None
    currency_event: tuple[datetime, str, str] | None
    has_span: bool
    known_by_rows_at: datetime | None


ATTRIBUTES = (
    "user_id",
    "kind",
    "name",
    "closed",
    "replaced_by",
    "replaced_from",
    "opened",
    "connection",
    "connection_reason",
    "stated_currency",
)
"""What events state of an account; the column of each has beside it one for its rank."""
_ATTRIBUTE_TYPES = {"closed": driver.BOOL, "replaced_from": driver.DATE, "opened": driver.DATE}
_ATTRIBUTE_COLUMNS = {
    column: _ATTRIBUTE_TYPES.get(column, driver.TEXT) for name in ATTRIBUTES for column in (name, f"{name}_rank")
}
_KEY = {"tenant": driver.TEXT, "account_id": driver.TEXT}

_KEYS = f"{driver.keys('tenants', 'accounts')} AS k(tenant, account_id)"

_ENSURE = Sql(
    f"""INSERT INTO accounts (tenant, account_id) SELECT * FROM {_KEYS} ORDER BY account_id, tenant
    ON CONFLICT DO NOTHING"""
)
_HAS_SPAN = "coalesce(a.chain_id, CAST(a.counts_from AS text)) IS NOT NULL"
_FROM = f"FROM (SELECT * FROM {_KEYS} ORDER BY account_id, tenant) AS k JOIN accounts a USING (tenant, account_id)"
_ROWS = f"""SELECT a.chain_id, a.tenant, a.account_id, a.currency, a.kind, a.kind_rank IS NOT NULL, a.user_id, a.closed,
        a.currency_from, {", ".join(f"a.{column}" for column in (*_CURRENCY_EVENT, *_FOLDED_COLUMNS))},
        {_HAS_SPAN} {_FROM}"""
# By the id first: to compare tenants, which are mostly the same, takes longer than all the rest of sorting.
_IN_ORDER = "ORDER BY k.account_id, k.tenant FOR NO KEY UPDATE OF a"
_READ = Sql(_ROWS)
_LOCK = Sql(f"{_ROWS} {_IN_ORDER}")
# Sorted before the rows are looked up too: neighbours in an index are found in half the time.
_HOLD = Sql(
    f"""SELECT a.chain_id, CASE WHEN a.chain_id IS NOT NULL THEN a.tenant END, k.number, a.ctid, a.currency,
        a.last_report_at, a.replaces, a.lends, a.has_dates, a.last_window_at,
        CASE a.currency_from WHEN '{SaidBy.TRANSACTION}' THEN (a.{", a.".join(_CURRENCY_EVENT)}) END,
        {_HAS_SPAN}, a.known_by_rows_at
    FROM (SELECT * FROM {driver.keys("tenants", "accounts")} WITH ORDINALITY AS k(tenant, account_id, number)
        ORDER BY account_id, tenant) AS k
    JOIN accounts a USING (tenant, account_id) {_IN_ORDER}"""
)
_CHAINS = Sql(
    f"""SELECT a.tenant, a.account_id FROM {driver.keys("tenants", "chains")} AS k(tenant, chain_id)
    JOIN accounts a USING (tenant, chain_id)"""
)
_READ_ATTRIBUTES = Sql(
    f"""SELECT a.tenant, a.account_id, {", ".join(f"a.{column}" for column in _ATTRIBUTE_COLUMNS)}
    FROM {_KEYS} JOIN accounts a USING (tenant, account_id)"""
)
_WRITE_ATTRIBUTES = Sql(
    f"""UPDATE accounts a SET {", ".join(f"{column} = s.{column}" for column in _ATTRIBUTE_COLUMNS)}
    FROM staged_attributes s WHERE a.tenant = s.tenant AND a.account_id = s.account_id"""
)
_WRITE_HAS_DATES = Sql(
    f"""UPDATE accounts a SET has_dates = true FROM {_KEYS}
    WHERE a.tenant = k.tenant AND a.account_id = k.account_id"""
)
_WRITE_KNOWN_BY_ROWS = Sql(
    f"""UPDATE accounts a SET known_by_rows_at = s.known_by_rows_at
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :moments)
        AS s(tenant, account_id, known_by_rows_at)
    WHERE a.tenant = s.tenant AND a.account_id = s.account_id"""
)
# Reads one row from the end of the index of counted transactions, and one from the end of the primary key of reports.


def lock_accounts(session: Session, keys: Iterable[AccountKey]) -> dict[AccountKey, AccountRow]:
    """Lock accounts in id order and read them; the accounts that are new are inserted first.

    With an account its whole chain (see core.events.spans) is locked and returned. Call it, or `hold_accounts`, once
    for an operation, with all of the operation's accounts.
    """
    return {(row[1], row[2]): _account(row) for row in _locked(session, _LOCK, list(set(keys)))}


def hold_accounts(session: Session, keys: Collection[AccountKey]) -> dict[AccountKey, Held]:
    """Lock accounts as `lock_accounts` does, and read only what a batch needs to know of most of them.

    `keys` has no repetitions; the result is in id order.
    """
    wanted = list(keys)
    rows = _locked(session, _HOLD, wanted)
    return {wanted[number - 1]: Held(*known) for _, _, number, *known in rows}


def read_accounts(session: Session, keys: Iterable[AccountKey]) -> dict[AccountKey, AccountRow]:
    """Read accounts that are locked already."""
    wanted = list(keys)
    rows = _READ.rows(session, driver.key_columns("accounts", wanted)) if wanted else []
    return {(row[1], row[2]): _account(row) for row in rows}


def _locked(session: Session, statement: Sql, wanted: list[AccountKey]) -> list[Row]:
    """Lock accounts in id order, and return the statement's rows, which begin with the chain and the tenant.

    All accounts of these chains are locked too, and added to `wanted`: the locks are given up and taken again, until
    they hold the whole of each chain. Whoever connects an account with a chain has to lock all of the chain first.

    New rows are inserted in id order before any row is locked. A transaction that wants a row which another one is
    inserting waits at the insert, when it has no lock that the other could want. Inserting while other rows are
    locked would deadlock. So if an account turns out to be new, the locks are given up, and taken again after the
    insert.

    The savepoint is not released. A caller may give up the locks by rolling back to a savepoint of its own. If an
    inner savepoint had been released before, those who wait for the rows would wait for the whole transaction, and
    the transaction for them.
    """
    if not wanted:
        return []
    while True:
        columns = driver.key_columns("accounts", wanted)
        before = Savepoint(session, "before_accounts")
        rows = statement.rows(session, columns)
        others = _others_of_chains(session, rows, wanted)
        if len(rows) == len(wanted) and not others:
            return rows
        before.undo()
        if len(rows) < len(wanted):
            _ENSURE.run(session, columns)
        wanted += others


def _others_of_chains(session: Session, rows: Sequence[Row], wanted: Sequence[AccountKey]) -> list[AccountKey]:
    """The accounts of the rows' chains that are not among the wanted ones; no query if no row has a chain."""
    chains = {(row[1], row[0]) for row in rows if row[0] is not None}
    if not chains:
        return []
    members = _CHAINS.rows(session, driver.key_columns("chains", sorted(chains)))
    return sorted({(row[0], row[1]) for row in members} - set(wanted))


def read_attributes(session: Session, rows: Mapping[AccountKey, AccountRow]) -> None:
    """Read the attributes of locked accounts into their rows."""
    if not rows:
        return
    for row in _READ_ATTRIBUTES.rows(session, driver.key_columns("accounts", list(rows))):
        stored = (StoredAttribute(*pair) for pair in zip(row[2::2], row[3::2], strict=True))
        rows[row[0], row[1]].attributes = dict(zip(ATTRIBUTES, stored, strict=True))


def write_attributes(session: Session, rows: Iterable[AccountRow]) -> None:
    """Write back the attributes of locked accounts."""
    values = [(*row.key, *(each for name in ATTRIBUTES for each in row.attributes[name])) for row in rows]
    if values:
        driver.stage(session, "staged_attributes", _KEY | _ATTRIBUTE_COLUMNS, values)
        _WRITE_ATTRIBUTES.run(session, {})


def write_has_dates(session: Session, keys: Sequence[AccountKey]) -> None:
    """Write that locked accounts have rows with only a date."""
    if keys:
        _WRITE_HAS_DATES.run(session, driver.key_columns("accounts", keys))


def write_known_by_rows(session: Session, rows: Sequence[AccountRow]) -> None:
    """Write from when on the rows of locked accounts suffice."""
    if rows:
        keys = driver.key_columns("accounts", [row.key for row in rows])
        moments = driver.moments([row.known_by_rows_at for row in rows])
        _WRITE_KNOWN_BY_ROWS.run(session, {**keys, "moments": moments})


def _account(row: Row) -> AccountRow:
    return AccountRow(row[1], row[2], row[3], KINDS[row[4]], *row[5:])
