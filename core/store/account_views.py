"""What is read of accounts without locks: one with its shares, ids in pages, latest facts, reports with differences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core.events.currency import SaidBy
from core.events.spans import NEVER
from core.goals.goal import GoalType, Tracking
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql
from core.store.spans import COUNTED

ACCOUNTS_AT_ONCE = 500
"""For how many accounts at once differences are looked for: all of their reports are read."""


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """What is known of an account. `worth_minor` is from all facts so far, and 0 while the currency is unknown.

    It is that of all accounts that are joined with it. `name` is the account's own name, else the one that was given
    with its latest link.
    """

    account_id: str
    name: str | None
    user_id: str | None
    kind: str
    is_kind_known: bool
    currency: str | None
    worth_minor: int
    first_report_at: datetime | None
    closed: bool


@dataclass(frozen=True, slots=True)
class EqualShares:
    """The number of open links of an account with the same share, to goals of the same currency, type and tracking.

    Net worth goals are not included: they follow all accounts of their user, and nobody gave them a share.
    """

    ppm: int
    currency: str
    type: GoalType
    tracking: Tracking
    number: int


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report, with the time, source and id of the event that states it.

    `difference_minor`: by how much it puts the account's worth above what the report before it and the transactions
    between the two lead to. None for the first report, and for one in another currency than the account's.
    """

    as_of: datetime
    currency: str
    current_minor: int
    available_minor: int | None
    difference_minor: int | None
    time: datetime
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account with its latest facts and what is known of its provider; None where there is none.

    `currency_said_by`: the kind of the fact that decides the currency. `is_currency_registered`: whether a registration
    of the account names it. `posted_at` is that of the last transaction that counts, `posted_time` the time of the
    event that states it. `provider` and `provider_connection` are those of the latest registration. `connection_rank`
    is of the event that states the state. `worth_minor` is 0 while another account counts in its place; `replaces` are
    the accounts that are said to go on as this one. `counts_from` and `counts_until`: see core.events.spans.
    """

    account_id: str
    name: str | None
    user_id: str | None
    kind: str
    currency: str | None
    currency_said_by: SaidBy | None
    is_currency_registered: bool
    worth_minor: int
    closed: bool
    posted_at: datetime | None
    posted_time: datetime | None
    provider: str | None
    provider_connection: str | None
    connection_state: str | None
    connection_reason: str | None
    connection_rank: str | None
    replaced_by: str | None
    replaces: list[str]
    opened: date | None
    counts_from: datetime | None
    counts_until: datetime | None
    last_report: ReportRow | None


# The name of an account `a`: its own, else the one that was given with its latest link.
_ACCOUNT_NAME = """coalesce(a.name, (SELECT l.account_name FROM links l
        WHERE l.tenant = a.tenant AND l.account_id = a.account_id AND l.account_name IS NOT NULL
        ORDER BY l.linked_at DESC LIMIT 1))"""
_ACCOUNT = Sql(
    f"""SELECT a.account_id, {_ACCOUNT_NAME}, a.user_id, a.kind, a.kind_rank IS NOT NULL, a.currency, w.worth_minor,
        a.first_report_at, a.closed
    FROM accounts a
    CROSS JOIN LATERAL (
        SELECT CAST(coalesce(sum(m.worth_minor), 0) AS bigint) AS worth_minor
        FROM (SELECT a.tenant, a.account_id, a.chain_id, a.joined_as) AS own CROSS JOIN LATERAL {COUNTED} AS m
        WHERE m.counts_until IS NULL AND coalesce(m.counts_from < :never, true)) AS w
    WHERE a.tenant = :tenant AND a.account_id = :account_id"""
)
_SHARES = Sql(
    """SELECT l.ppm, g.currency, g.type, g.tracking, count(*)
    FROM links l JOIN goals g USING (tenant, goal_id)
    WHERE l.tenant = :tenant AND l.account_id = :account_id AND l.until_at IS NULL AND g.tracking <> 'net_worth'
    GROUP BY 1, 2, 3, 4"""
)
_OWN_REPORTS = "r.tenant = a.tenant AND r.account_id = a.account_id"
# Of a report `r` of an account `a`: the fields of ReportRow.
_REPORT = """r.as_of, r.currency, r.current_minor, r.available_minor,
        CASE WHEN r.as_of > a.first_report_at THEN r.residual_minor END,
        r.event_time, r.source, r.event_id"""
_REPORT_FIELDS, _SAID_BY = len(ReportRow.__slots__), AccountSummary.__slots__.index("currency_said_by")
_IDS = """SELECT account_id FROM accounts WHERE tenant = :tenant AND account_id > :after {}
    ORDER BY account_id LIMIT :limit"""
_IDS_OF_ALL, _IDS_OF_USER = Sql(_IDS.format("")), Sql(_IDS.format("AND user_id = :user_id"))
# Of an account's facts and registrations each part reads one row, found by an index.
_SUMMARIES = Sql(
    f"""SELECT a.account_id, {_ACCOUNT_NAME}, a.user_id, a.kind, a.currency, a.currency_from,
        coalesce(p.names_currency, false),
        CASE WHEN a.counts_until IS NOT NULL OR a.counts_from >= :never THEN 0 ELSE a.worth_minor END, a.closed,
        t.posted_at, t.event_time, p.provider, p.connection, a.connection, a.connection_reason, a.connection_rank,
        a.replaced_by, ARRAY(
            SELECT o.account_id FROM accounts o
            WHERE o.tenant = a.tenant AND o.chain_id = a.chain_id AND o.replaced_by = a.account_id ORDER BY 1),
        a.opened, a.counts_from, a.counts_until, {_REPORT}
    FROM accounts a
    LEFT JOIN LATERAL (
        SELECT t.posted_at, t.event_time FROM transactions t
        WHERE t.tenant = a.tenant AND t.account_id = a.account_id AND t.counts
        ORDER BY t.posted_at DESC LIMIT 1) t ON true
    LEFT JOIN LATERAL (SELECT r.* FROM reports r WHERE {_OWN_REPORTS} ORDER BY r.as_of DESC LIMIT 1) r ON true
    LEFT JOIN LATERAL (
        SELECT p.provider, p.connection, bool_or(p.currency = a.currency) OVER () AS names_currency
        FROM provider_accounts p WHERE p.tenant = a.tenant AND p.account_id = a.account_id
        ORDER BY p.updated_at DESC, p.provider, p.provider_account_id LIMIT 1) p ON true
    WHERE a.tenant = :tenant AND a.account_id = ANY(CAST(:names AS text[]))
    ORDER BY a.account_id"""
)
# Those that are due and wait for their currency are shown, too.
_REPORTS = f"""(SELECT {_REPORT}
    FROM accounts a JOIN reports r ON {_OWN_REPORTS}
    WHERE a.tenant = :tenant AND a.account_id = :account_id {{0}}
    ORDER BY r.as_of DESC, r.currency DESC LIMIT :limit)
    UNION ALL
    (SELECT r.as_of, r.currency, r.current_minor, r.available_minor, NULL, r.event_time, r.source, r.event_id
    FROM waiting_reports r
    WHERE r.tenant = :tenant AND r.account_id = :account_id AND r.due_at IS NULL {{0}}
    ORDER BY r.as_of DESC, r.currency DESC LIMIT :limit)
    ORDER BY as_of DESC, currency DESC LIMIT :limit"""
_NEWEST_REPORTS = Sql(_REPORTS.format(""))
_REPORTS_BEFORE = Sql(_REPORTS.format("AND (r.as_of, r.currency) < (:as_of, :currency)"))


def _rows_around(column: str, offsets: Iterable[int]) -> str:
    """An array of a column in the rows around the present one of the window `w`; null beyond its first and last row.

    Written as sliding frames of array_agg, the statement takes more than twice as long.
    """
    calls = (f"{'lag' if offset < 0 else 'lead'}({column}, {abs(offset)}) OVER w" for offset in offsets)
    return f"ARRAY[{', '.join(calls)}]"


# `level` is the sum of all differences so far. A run of reports whose differences sum to 0 ends on the level on which
# it began. So the levels after the four reports before a difference are compared with those after its own report and
# the three that follow it.
_WITH_DIFFERENCE = Sql(
    f"""WITH levels AS (
        SELECT r.account_id, r.as_of, r.residual_minor AS difference, sum(r.residual_minor) OVER w AS level
        FROM accounts a JOIN reports r ON {_OWN_REPORTS}
        WHERE a.tenant = :tenant AND a.account_id = ANY(CAST(:names AS text[]))
        WINDOW w AS (PARTITION BY r.account_id ORDER BY r.as_of)),
    surrounded AS (
        SELECT account_id, difference, lead(as_of, 3) OVER w AS third_after,
            {_rows_around("difference", (-3, -2, -1, 1, 2, 3))} AS near,
            {_rows_around("level", range(-4, 0))} AS levels_before, {_rows_around("level", range(4))} AS levels_since
        FROM levels WINDOW w AS (PARTITION BY account_id ORDER BY as_of))
    SELECT DISTINCT account_id FROM surrounded
    WHERE difference <> 0 AND third_after IS NOT NULL
      AND NOT (ARRAY[-difference] && near) AND NOT (levels_before && levels_since)"""
)


def read_account(session: Session, key: AccountKey) -> KnownAccount | None:
    """An account, not locked; None if neither an event nor a link has named it."""
    row = _ACCOUNT.first(session, {"tenant": key[0], "account_id": key[1], "never": NEVER})
    return None if row is None else KnownAccount(*row)


def shares_of_account(session: Session, key: AccountKey) -> list[EqualShares]:
    """The shares of an account that go to goals now, grouped so that there are few rows even for many goals."""
    rows = _SHARES.rows(session, {"tenant": key[0], "account_id": key[1]})
    return [EqualShares(row[0], row[1], GoalType(row[2]), Tracking(row[3]), row[4]) for row in rows]


def account_ids(session: Session, tenant: str, *, user_id: str | None = None, after: str, limit: int) -> list[str]:
    """The ids of a tenant's accounts, or of one user's, in order, from the one that comes after `after` on."""
    parameters = {"tenant": tenant, "after": after, "limit": limit}
    if user_id is None:
        return list(_IDS_OF_ALL.values(session, parameters))
    return list(_IDS_OF_USER.values(session, parameters | {"user_id": user_id}))


def read_summaries(session: Session, tenant: str, account_ids: Sequence[str]) -> list[AccountSummary]:
    """The accounts of these ids, in the order of their ids; those that do not exist are left out."""
    summaries = []
    for row in _SUMMARIES.rows(session, {"tenant": tenant, "names": list(account_ids), "never": NEVER}):
        report = row[-_REPORT_FIELDS:]
        last_report = None if report[0] is None else ReportRow(*report)
        known = [*row[:-_REPORT_FIELDS], last_report]
        known[_SAID_BY] = None if known[_SAID_BY] is None else SaidBy(known[_SAID_BY])
        summaries.append(AccountSummary(*known))
    return summaries


def list_reports(
    session: Session, key: AccountKey, *, before: tuple[datetime, str] | None, limit: int
) -> list[ReportRow]:
    """An account's reports, the newest first, from the one that comes after `before` (as_of, currency) on."""
    parameters: dict[str, object] = {"tenant": key[0], "account_id": key[1], "limit": limit}
    statement = _NEWEST_REPORTS
    if before is not None:
        statement, parameters = _REPORTS_BEFORE, parameters | {"as_of": before[0], "currency": before[1]}
    return [ReportRow(*row) for row in statement.rows(session, parameters)]


def with_difference(session: Session, tenant: str, account_ids: Sequence[str]) -> set[str]:
    """Which of these accounts have a difference that the three reports after it did not take back.

    A difference is evaluated once its account has three later reports. It is taken back if one of the three reports
    before or after it has the opposite difference, or if it is part of a run of reports whose differences sum to 0: a
    run that begins at most three reports before it and ends at most three after it. The reports before it matter since
    one that takes back an earlier difference has a difference too. Reads all reports of the accounts.
    """
    return set(_WITH_DIFFERENCE.values(session, {"tenant": tenant, "names": list(account_ids)}))


def count_with_difference(session: Session, tenant: str) -> int:
    """How many accounts of a tenant `with_difference` finds; for a job, since it reads all reports of the tenant."""
    count, after = 0, ""
    while ids := account_ids(session, tenant, after=after, limit=ACCOUNTS_AT_ONCE):
        count += len(with_difference(session, tenant, ids))
        after = ids[-1]
    return count
