"""What placing asks of stored balances and rows, see core.events.placement_changes, and where rows are placed then."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from core.events.placement import Balance, Row
from core.events.placement_changes import BALANCES_AFTER, BALANCES_BEFORE, BalancesAround, RowsBetween
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql
from core.store.transactions import TransactionKey

_PLACE = {
    "tenant": driver.TEXT,
    "account_id": driver.TEXT,
    "transaction_id": driver.TEXT,
    "posted_at": driver.TIMESTAMPTZ,
}
_BALANCES_AROUND = Sql(
    f"""SELECT k.number, r.as_of, r.current_minor, r.gap_minor, r.has_moved
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :firsts, :lasts)
        WITH ORDINALITY AS k(tenant, account_id, first, last, number)
    CROSS JOIN LATERAL (
        SELECT
            (SELECT as_of FROM reports WHERE tenant = k.tenant AND account_id = k.account_id AND as_of < k.first
                ORDER BY as_of DESC OFFSET {BALANCES_BEFORE - 1} LIMIT 1) AS first,
            (SELECT as_of FROM reports WHERE tenant = k.tenant AND account_id = k.account_id AND as_of >= k.last
                ORDER BY as_of OFFSET {BALANCES_AFTER - 1} LIMIT 1) AS last) AS bound
    JOIN reports r ON r.tenant = k.tenant AND r.account_id = k.account_id
        AND r.as_of >= coalesce(bound.first, '-infinity') AND r.as_of <= coalesce(bound.last, 'infinity')
    ORDER BY k.number, r.as_of"""
)
_ROWS_BETWEEN = Sql(
    f"""SELECT k.number, t.transaction_id, t.dated, coalesce(t.lent_at, t.first_reported, t.event_time), t.amount_minor,
        t.posted_at
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :firsts, :lasts, :reported_from, :reported_to)
        WITH ORDINALITY AS k(tenant, account_id, first, last, reported_from, reported_to, number)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id
        AND t.counts AND t.posted_at BETWEEN k.first AND k.last
        AND (k.reported_from IS NULL OR (t.dated IS NOT NULL
            AND coalesce(t.lent_at, t.first_reported, t.event_time) BETWEEN k.reported_from AND k.reported_to))
    ORDER BY k.number"""
)
# While no row has only a date, each row is placed at its instant. So a report's gap is its residual and the rows that
# were reported later. The first report has none.
_BEGIN_GAPS = Sql(
    f"""UPDATE reports r SET gap_minor = g.gap_minor
    FROM (
        SELECT b.tenant, b.account_id, b.as_of, b.residual_minor + coalesce((
            SELECT sum(t.amount_minor) FROM transactions t
            WHERE t.tenant = b.tenant AND t.account_id = b.account_id AND t.counts AND t.dated IS NULL
              AND t.posted_at > b.before_at AND t.posted_at <= b.as_of
              AND coalesce(t.first_reported, t.event_time) > b.as_of
              AND NOT (t.tenant, t.account_id, t.transaction_id) IN (
                SELECT * FROM {driver.keys("new_tenants", "new_accounts", "new_transactions")})), 0) AS gap_minor
        FROM (
            SELECT tenant, account_id, as_of, residual_minor,
                lag(as_of) OVER (PARTITION BY tenant, account_id ORDER BY as_of) AS before_at
            FROM {driver.keys("tenants", "accounts")} AS k(tenant, account_id)
            JOIN reports USING (tenant, account_id)) AS b
        WHERE b.before_at IS NOT NULL) AS g
    WHERE (r.tenant, r.account_id, r.as_of) = (g.tenant, g.account_id, g.as_of) AND g.gap_minor <> 0"""
)
_WRITE_PLACES = Sql(
    """UPDATE transactions t SET posted_at = s.posted_at FROM staged_places s
    WHERE (t.tenant, t.account_id, t.transaction_id) = (s.tenant, s.account_id, s.transaction_id)"""
)


def begin_gaps(session: Session, keys: Sequence[AccountKey], new: Sequence[TransactionKey]) -> None:
    """Write the gaps of the stored reports of locked accounts that have no row with only a date before this batch.

    `new` are the rows of the batch that are written already.
    """
    if keys:
        columns = [driver.joined([key[n] for key in new]) for n in range(3)]
        parameters = dict(zip(("new_tenants", "new_accounts", "new_transactions"), columns, strict=True))
        _BEGIN_GAPS.run(session, driver.key_columns("accounts", keys) | parameters)


def read_balances_around(
    session: Session, questions: Mapping[AccountKey, BalancesAround], signs: Mapping[AccountKey, int]
) -> dict[AccountKey, list[list[Balance]]]:
    """For each account the stored balances that its question asks for; `signs` are those of the accounts' kinds."""
    spans = [(key, *span) for key, question in questions.items() for span in question.spans]
    around = [list[Balance]() for _ in spans]
    if spans:
        for number, as_of, current_minor, *kept in _BALANCES_AROUND.rows(session, _of_spans(spans)):
            around[number - 1].append(Balance(as_of, current_minor * signs[spans[number - 1][0]], *kept))
    found: dict[AccountKey, list[list[Balance]]] = {key: [] for key in questions}
    for (key, _, _), balances in zip(spans, around, strict=True):
        found[key].append(balances)
    return found


def read_rows_between(session: Session, questions: Mapping[AccountKey, RowsBetween]) -> dict[AccountKey, list[Row]]:
    """For each account the stored rows that its question asks for."""
    found = {key: list[Row]() for key in questions}
    spans = [(key, *span, each.reported) for key, each in questions.items() for span in each.spans]
    if spans:
        parameters = _of_spans([span[:3] for span in spans])
        reported = [each or (None, None) for *_, each in spans]
        parameters["reported_from"] = driver.moments([first for first, _ in reported])
        parameters["reported_to"] = driver.moments([last for _, last in reported])
        for number, *row in _ROWS_BETWEEN.rows(session, parameters):
            found[spans[number - 1][0]].append(Row(*row))
    return found


def _of_spans(spans: Sequence[tuple[AccountKey, datetime, datetime]]) -> dict[str, object]:
    parameters: dict[str, object] = {**driver.key_columns("accounts", [key for key, _, _ in spans])}
    parameters["firsts"] = driver.moments([first for _, first, _ in spans])
    parameters["lasts"] = driver.moments([last for _, _, last in spans])
    return parameters


def write_places(session: Session, places: Iterable[tuple[TransactionKey, datetime]]) -> None:
    """Write where stored transactions are placed now."""
    values = [(*key, placed_at) for key, placed_at in places]
    if values:
        driver.stage(session, "staged_places", _PLACE, values)
        _WRITE_PLACES.run(session, {})
