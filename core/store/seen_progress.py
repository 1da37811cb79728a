"""Goals with all that their progress is made of, in one statement: links, newest facts, and the stored pace."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from core.store import driver
from core.store.driver import Session, Sql, require_transaction
from core.store.forecasts import IS_USED, STORED, ForecastRow, forecast_of
from core.store.goals import COLUMNS, GoalKey, GoalRow, goal_of
from core.store.links import FUNDING, FundingRow, count_in_spans, funding_row
from core.store.spans import COUNTED


class SeenProgress(NamedTuple):
    """A goal with its links, and the pace that is stored.

    `newest` has for each link the moment of the newest fact that is in its time; None if there is none. For the measure
    worth, facts are transactions and reports, for inflow the transactions that brought money in.
    """

    goal: GoalRow
    sources: list[FundingRow]
    newest: list[datetime | None]
    forecast: ForecastRow | None


_FORECAST = slice(len(COLUMNS), len(COLUMNS) + 6)
_NEWEST = _FORECAST.stop
_LINK = _NEWEST + 1
# A link to one of joined accounts counts the facts of each of them in its time.
_SINCE = "coalesce(greatest(l.begin_at, m.counts_from), '-infinity')"
_BEFORE = "coalesce(least(l.until_at, m.counts_until), 'infinity')"
_READ = Sql(
    f"""SELECT {", ".join(f"g.{column}" for column in COLUMNS)}, {STORED}, n.at, {FUNDING}
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goals g USING (tenant, goal_id)
    JOIN tenants t USING (tenant)
    LEFT JOIN forecasts f ON f.tenant = g.tenant AND f.goal_id = g.goal_id AND {IS_USED}
    LEFT JOIN links l ON l.tenant = g.tenant AND l.goal_id = g.goal_id
    LEFT JOIN accounts own ON own.tenant = l.tenant AND own.account_id = l.account_id
    LEFT JOIN LATERAL (
        SELECT max(greatest(moved.at, reported.at)) AS at FROM {COUNTED} AS m
        LEFT JOIN LATERAL (
            SELECT x.posted_at AS at FROM transactions x
            WHERE x.tenant = m.tenant AND x.account_id = m.account_id AND x.counts
              AND x.posted_at >= {_SINCE} AND x.posted_at < {_BEFORE} AND (l.measure = 'worth' OR x.amount_minor > 0)
            ORDER BY x.posted_at DESC LIMIT 1) AS moved ON true
        LEFT JOIN LATERAL (
            SELECT x.as_of AS at FROM reports x
            WHERE x.tenant = m.tenant AND x.account_id = m.account_id AND l.measure = 'worth'
              AND x.as_of >= {_SINCE} AND x.as_of < {_BEFORE}
            ORDER BY x.as_of DESC LIMIT 1) AS reported ON true
    ) AS n ON true"""
)


def read_seen_progress(session: Session, keys: Iterable[GoalKey]) -> list[SeenProgress]:
    """What there is of these goals, not locked; one that does not exist is left out.

    Joined accounts need more than one statement: raises NeedsTransaction if the session is none.
    """
    found: dict[GoalKey, SeenProgress] = {}
    for row in _READ.rows(session, driver.key_columns("goals", list(keys))):
        goal = goal_of(row[: len(COLUMNS)])
        seen = found.setdefault(goal.key, SeenProgress(goal, [], [], forecast_of(goal.key, row[_FORECAST])))
        if row[_LINK] is not None:
            seen.sources.append(funding_row(row[_LINK:]))
            seen.newest.append(row[_NEWEST])
    if any(source.has_span for seen in found.values() for source in seen.sources):
        require_transaction(session)
        count_in_spans(session, (seen.sources for seen in found.values()))
    return list(found.values())
