"""What decides when accounts count, the spans that follow, and which accounts are joined."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.events.calendar import day_start
from core.events.spans import Described, Span
from core.store import driver
from core.store.accounts import KINDS, AccountKey
from core.store.driver import Session, Sql, dates, joined_or_null, moments, split, split_or_null


class SpannedAccount(NamedTuple):
    """An account with what decides when it counts, what follows as it is stored, and its dirty range.

    `last_fact_at` is that of its last report or counted transaction.
    """

    described: Described
    span: Span
    last_fact_at: datetime | None
    dirty_from: date | None
    late_from: date | None
    late_through: date | None


class CountedAccount(NamedTuple):
    """An account that counts only for a time, alone or as one of joined accounts: from when, until when."""

    account_id: str
    counts_from: datetime | None
    counts_until: datetime | None
    first_report_at: datetime | None = None
    known_by_rows_at: datetime | None = None


COUNTED = """(
        SELECT m.* FROM accounts m
        WHERE own.joined_as IS NULL AND m.tenant = own.tenant AND m.account_id = own.account_id
        UNION ALL
        SELECT m.* FROM accounts m
        WHERE m.tenant = own.tenant AND m.chain_id = own.chain_id AND m.joined_as = own.joined_as)"""
"""SQL for the rows of the accounts that are joined with the account `own`, or for its own row if none is."""
_KEYS = f"{driver.keys('tenants', 'accounts')} AS k(tenant, account_id)"
_READ = Sql(
    f"""SELECT a.tenant, a.account_id, a.kind, a.currency, a.user_id, a.first_report_at, a.opened, a.replaced_by,
        a.replaced_from, a.replaced_by_rank, a.chain_id, a.joined_as, a.counts_from, a.counts_until,
        greatest(a.last_report_at, a.last_transaction_at), a.dirty_from, a.late_from, a.late_through
    FROM {_KEYS} JOIN accounts a USING (tenant, account_id)"""
)
_WRITE = Sql(
    f"""UPDATE accounts a SET chain_id = s.chain_id, joined_as = s.joined_as, counts_from = s.counts_from,
        counts_until = s.counts_until, dirty_from = s.dirty_from, late_from = s.late_from, late_through = s.late_through
    FROM unnest({split("tenants")}, {split("accounts")}, {split_or_null("chains")}, {split_or_null("joined")}, :begins,
        :ends, :dirty, :late, :through)
        AS s(tenant, account_id, chain_id, joined_as, counts_from, counts_until, dirty_from, late_from, late_through)
    WHERE a.tenant = s.tenant AND a.account_id = s.account_id"""
)
_CHAINS_OF = Sql(
    f"""SELECT DISTINCT m.tenant, m.account_id FROM {_KEYS} JOIN accounts a USING (tenant, account_id)
    JOIN accounts m ON m.tenant = a.tenant AND m.chain_id = a.chain_id"""
)
_READ_COUNTED = Sql(
    f"""SELECT k.tenant, k.account_id, m.account_id, m.counts_from, m.counts_until, m.first_report_at,
        m.known_by_rows_at
    FROM {_KEYS} JOIN accounts own USING (tenant, account_id)
    CROSS JOIN LATERAL {COUNTED} AS m
    ORDER BY 1, 2, 3"""
)


def chains_of(session: Session, keys: Sequence[AccountKey]) -> set[AccountKey]:
    """All accounts that statements `replaced_by` connect with these accounts, these included; none for other ones."""
    rows = _CHAINS_OF.rows(session, driver.key_columns("accounts", keys)) if keys else []
    return {(row[0], row[1]) for row in rows}


def read_spanned(
    session: Session, keys: Iterable[AccountKey], zones: Mapping[str, ZoneInfo]
) -> dict[AccountKey, SpannedAccount]:
    """What decides when accounts count, and what is stored of it; days begin in the zones of their tenants."""
    found = {}
    for row in _READ.rows(session, driver.key_columns("accounts", sorted(keys))):
        tenant, name, kind, currency, user_id, first_report_at, opened, replaced_by, replaced_from, rank = row[:10]
        zone = zones[tenant]
        found[tenant, name] = SpannedAccount(
            Described(
                name,
                KINDS[kind],
                currency,
                user_id,
                first_report_at,
                None if opened is None else day_start(opened, zone),
                replaced_by,
                None if replaced_from is None else day_start(replaced_from, zone),
                rank,
            ),
            Span(*row[10:14]),
            *row[14:],
        )
    return found


def write_spans(session: Session, rows: Mapping[AccountKey, SpannedAccount]) -> None:
    """Write when locked accounts count, and their dirty ranges."""
    if not rows:
        return
    spans = [row.span for row in rows.values()]
    columns = {
        "chains": joined_or_null([span.chain_id for span in spans]),
        "joined": joined_or_null([span.joined_as for span in spans]),
        "begins": moments([span.counts_from for span in spans]),
        "ends": moments([span.counts_until for span in spans]),
        "dirty": dates([row.dirty_from for row in rows.values()]),
        "late": dates([row.late_from for row in rows.values()]),
        "through": dates([row.late_through for row in rows.values()]),
    }
    _WRITE.run(session, driver.key_columns("accounts", list(rows)) | columns)


def counted_accounts(session: Session, keys: Sequence[AccountKey]) -> dict[AccountKey, tuple[CountedAccount, ...]]:
    """For each account those that count in its place, in the order of their ids: itself and those joined with it."""
    found: dict[AccountKey, tuple[CountedAccount, ...]] = {}
    for row in _READ_COUNTED.rows(session, driver.key_columns("accounts", keys)) if keys else []:
        found[row[0], row[1]] = (*found.get((row[0], row[1]), ()), CountedAccount(*row[2:]))
    return found
