"""What accounts had before a moment: read back from their present figures over all that came since."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store import bulk

# (tenant, account_id, moment)
AccountMoment = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True)
class MeasuresBefore:
    """An account's measures from all facts before a moment."""

    worth_minor: int
    inflow_minor: int

    def of(self, measure: str) -> int:
        """The one that a link measures."""
        return self.inflow_minor if measure == "inflow" else self.worth_minor


_READ_MEASURES = text(
    """SELECT k.n,
        a.worth_minor - coalesce((SELECT sum(t.amount_minor) FROM transactions t
            WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts AND t.posted_at >= k.moment), 0)
          - coalesce((SELECT sum(r.residual_minor) FROM reports r
            WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.as_of >= k.moment), 0),
        a.inflow_minor - coalesce((SELECT sum(t.amount_minor) FROM transactions t
            WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts AND t.posted_at >= k.moment
              AND t.amount_minor > 0), 0)
    FROM unnest(string_to_array(:tenants, chr(31)), string_to_array(:names, chr(31)), CAST(:moments AS timestamptz[]))
        WITH ORDINALITY AS k(tenant, account_id, moment, n)
    JOIN accounts a ON a.tenant = k.tenant AND a.account_id = k.account_id"""
)


def read_measures(session: Session, wanted: Iterable[AccountMoment]) -> dict[AccountMoment, MeasuresBefore]:
    """The measures of accounts just before moments. Reads all that came later: for moments not kept elsewhere."""
    keys = sorted(set(wanted))
    if not keys:
        return {}
    parameters = {
        "tenants": bulk.joined(key[0] for key in keys),
        "names": bulk.joined(key[1] for key in keys),
        "moments": [key[2] for key in keys],
    }
    rows = session.execute(_READ_MEASURES, parameters).all()
    return {keys[n - 1]: MeasuresBefore(int(worth), int(inflow)) for n, worth, inflow in rows}


def measures_before(
    session: Session, tenant: str, account_ids: Iterable[str], moment: datetime
) -> dict[str, MeasuresBefore]:
    """The measures of accounts, which must be locked, from the facts before one moment, by account."""
    found = read_measures(session, ((tenant, account_id, moment) for account_id in account_ids))
    return {account_id: measures for (_, account_id, _), measures in found.items()}
