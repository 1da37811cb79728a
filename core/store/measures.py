"""The measures of accounts (worth and inflow) before a moment, from all facts before it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.store import driver
from core.store.driver import Session, Sql
from core.store.spans import COUNTED

# (tenant, account_id, moment)
AccountMoment = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True)
class MeasuresBefore:
    """An account's measures from all facts before a moment."""

    worth_minor: int
    inflow_minor: int

    def of(self, measure: str) -> int:
        """The measure of this name: `inflow` or `worth`."""
        return self.inflow_minor if measure == "inflow" else self.worth_minor


_MOMENTS = """unnest(string_to_array(:tenants, chr(31)), string_to_array(:names, chr(31)),
        CAST(:moments AS timestamptz[])) WITH ORDINALITY AS k(tenant, account_id, moment, n)"""
_FACTS_OF = "t.tenant = a.tenant AND t.account_id = a.account_id AND t.counts"
_SINCE = f"""coalesce((SELECT sum(t.amount_minor) FROM transactions t
            WHERE {_FACTS_OF} AND t.posted_at >= k.moment), 0)
          + coalesce((SELECT sum(r.residual_minor) FROM reports r
            WHERE r.tenant = a.tenant AND r.account_id = a.account_id AND r.as_of >= k.moment), 0)"""
# An account that counts only for a time is worth nothing before and after it, and no inflow counts then.
_READ_MEASURES = Sql(
    f"""SELECT k.n,
        sum(CASE WHEN a.counts_from >= k.moment OR a.counts_until < k.moment THEN 0
            ELSE a.worth_minor - ({_SINCE}) END),
        sum(CASE WHEN a.counts_from >= least(k.moment, a.counts_until) THEN 0
            ELSE a.inflow_minor - coalesce((SELECT sum(t.amount_minor) FROM transactions t
                WHERE {_FACTS_OF} AND t.posted_at >= least(k.moment, a.counts_until) AND t.amount_minor > 0), 0)
            - coalesce((SELECT sum(t.amount_minor) FROM transactions t
                WHERE {_FACTS_OF} AND t.posted_at < a.counts_from AND t.amount_minor > 0), 0) END)
    FROM {_MOMENTS}
    JOIN accounts own ON own.tenant = k.tenant AND own.account_id = k.account_id
    CROSS JOIN LATERAL {COUNTED} AS a
    GROUP BY k.n"""
)
_READ_OWN_WORTHS = Sql(
    f"""SELECT k.n, a.worth_minor - ({_SINCE})
    FROM {_MOMENTS} JOIN accounts a ON a.tenant = k.tenant AND a.account_id = k.account_id"""
)


def read_measures(session: Session, wanted: Iterable[AccountMoment]) -> dict[AccountMoment, MeasuresBefore]:
    """The measures of accounts just before moments; joined accounts have the measures of all of them.

    Reads all later facts, so use it only for moments whose measures are not stored.
    """
    keys = sorted(set(wanted))
    if not keys:
        return {}
    rows = _READ_MEASURES.rows(session, _moment_columns(keys))
    return {keys[n - 1]: MeasuresBefore(int(worth), int(inflow)) for n, worth, inflow in rows}


def measures_before(
    session: Session, tenant: str, account_ids: Iterable[str], moment: datetime
) -> dict[str, MeasuresBefore]:
    """By account id, the measures of locked accounts from the facts before one moment."""
    found = read_measures(session, ((tenant, account_id, moment) for account_id in account_ids))
    return {account_id: measures for (_, account_id, _), measures in found.items()}


def own_worths(session: Session, wanted: Iterable[AccountMoment]) -> dict[AccountMoment, int]:
    """The worths of accounts just before moments, whether or not they count then."""
    keys = sorted(set(wanted))
    if not keys:
        return {}
    return {keys[n - 1]: int(worth) for n, worth in _READ_OWN_WORTHS.rows(session, _moment_columns(keys))}


def _moment_columns(keys: Sequence[AccountMoment]) -> dict[str, object]:
    return {
        "tenants": driver.joined(key[0] for key in keys),
        "names": driver.joined(key[1] for key in keys),
        "moments": [key[2] for key in keys],
    }
