"""Accounts that probably go on under another id: what is compared to find them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.store.driver import Session, Sql


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account without a fact since the first one of another account, of one user, kind and currency, with balances.

    The balances are those of their last reports. `last_event_at` is the time of the last event that states a fact of
    the old account, `first_event_at` that of the first one of the new account.
    """

    old_id: str
    new_id: str
    user_id: str
    kind: str
    currency: str
    old_minor: int
    old_as_of: datetime
    new_minor: int
    new_as_of: datetime
    last_event_at: datetime
    first_event_at: datetime
    is_broken: bool


_LAST = """SELECT current_minor, as_of, event_time FROM reports r
        WHERE r.tenant = {0}.tenant AND r.account_id = {0}.account_id AND r.currency = {0}.currency
        ORDER BY r.as_of DESC LIMIT 1"""
_RECORDED = """SELECT least({0}.first_recorded_at, min(r.event_time)) AS first_at,
            greatest({0}.last_recorded_at, max(r.event_time)) AS last_at
        FROM reports r WHERE r.tenant = {0}.tenant AND r.account_id = {0}.account_id"""
# Most accounts have a fact of these days: their last report or row says so, and their others need not be read.
_CANDIDATES = Sql(
    f"""WITH o AS MATERIALIZED (
        SELECT a.*, old.current_minor, old.as_of FROM accounts a CROSS JOIN LATERAL ({_LAST.format("a")}) AS old
        WHERE a.tenant = :tenant AND a.account_id = ANY(CAST(:names AS text[])) AND a.replaced_by IS NULL
          AND (a.connection = 'broken' OR greatest(a.last_recorded_at, old.event_time) <= :silent_since))
    SELECT o.account_id, n.account_id, o.user_id, o.kind, o.currency, o.current_minor, o.as_of,
        new.current_minor, new.as_of, recorded.last_at, recorded_new.first_at, coalesce(o.connection = 'broken', false)
    FROM o
    JOIN accounts n ON n.tenant = o.tenant AND n.user_id = o.user_id AND n.account_id <> o.account_id
        AND n.kind = o.kind AND n.currency = o.currency AND (n.chain_id = o.chain_id) IS NOT TRUE
    CROSS JOIN LATERAL ({_LAST.format("n")}) AS new
    CROSS JOIN LATERAL ({_RECORDED.format("o")}) AS recorded
    CROSS JOIN LATERAL ({_RECORDED.format("n")}) AS recorded_new
    WHERE recorded.last_at < recorded_new.first_at AND (o.connection = 'broken' OR recorded.last_at <= :silent_since)
    ORDER BY o.account_id, n.account_id"""
)


def find_candidates(session: Session, tenant: str, old_ids: Sequence[str], silent_since: datetime) -> list[Candidate]:
    """The candidates for these old accounts, silent since a moment or with a broken connection, by old and new id.

    Accounts that a statement `replaced_by` connects, or that are said to be replaced, are left out.
    """
    parameters = {"tenant": tenant, "names": list(old_ids), "silent_since": silent_since}
    return [Candidate(*row) for row in _CANDIDATES.rows(session, parameters)]
