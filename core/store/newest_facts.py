"""The newest fact of accounts within periods, by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store import bulk


@dataclass(frozen=True, slots=True)
class FactPeriod:
    """What a goal holds of an account: its facts from `begin_at` on, before `until_at`; None: without a limit.

    Of `worth` transactions and reports are facts, of `inflow` the transactions that brought money in.
    """

    account_id: str
    measure: str
    begin_at: datetime | None
    until_at: datetime | None


# Read from the end of the index of counted transactions, and of the primary key of reports.
_NEWEST = text(
    f"""SELECT max(greatest(t.at, r.at))
    FROM unnest({bulk.split("names")}, {bulk.split("measures")}, CAST(:begins AS timestamptz[]),
        CAST(:untils AS timestamptz[])) AS k(account_id, measure, begin_at, until_at)
    LEFT JOIN LATERAL (
        SELECT posted_at AS at FROM transactions
        WHERE tenant = :tenant AND account_id = k.account_id AND counts
          AND posted_at >= coalesce(k.begin_at, '-infinity') AND posted_at < coalesce(k.until_at, 'infinity')
          AND (k.measure = 'worth' OR amount_minor > 0)
        ORDER BY posted_at DESC LIMIT 1) AS t ON true
    LEFT JOIN LATERAL (
        SELECT as_of AS at FROM reports
        WHERE tenant = :tenant AND account_id = k.account_id AND k.measure = 'worth'
          AND as_of >= coalesce(k.begin_at, '-infinity') AND as_of < coalesce(k.until_at, 'infinity')
        ORDER BY as_of DESC LIMIT 1) AS r ON true"""
)


def newest_fact(session: Session, tenant: str, periods: Sequence[FactPeriod]) -> datetime | None:
    """The moment of the newest fact in any of the periods; None if they hold none."""
    if not periods:
        return None
    parameters = {
        "tenant": tenant,
        "names": bulk.joined(period.account_id for period in periods),
        "measures": bulk.joined(period.measure for period in periods),
        "begins": [period.begin_at for period in periods],
        "untils": [period.until_at for period in periods],
    }
    newest: datetime | None = session.execute(_NEWEST, parameters).scalar()
    return newest
