"""Writing a batch's accounts and, in the same statement, moving the goals that hang on these accounts alone.

Most goals of a batch are *plain*: not final, not a net worth, waiting for no report, and with no link to an account
that the batch does not hold. What they come to follows from rows that the batch has locked, so nobody else can move
them meanwhile, and their amounts and ledger lines are written where they lie instead of being carried to Python and
back. The arithmetic is that of core.goals.amounts, which settles all other goals; a property test holds the two
against each other.

Steps of the statement:

1. written: the accounts take what the batch brought
2. sums: what each goal's links to them measure now; whether facts lie before a link's begin or end (late)
3. changed: the goals whose every link is in the sum and that are plain; each is locked here, in id order, and where
   someone else changed it since the statement began, its newest version is asked again
4. noted: a line in the ledger of each
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store import bulk
from core.store.accounts import AccountKey
from core.store.arrays import bools, dates, int8s, joined_or_null, moments, split_or_null
from core.store.goals import GoalKey

BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
"""The earliest moment of a batch that moved an account's opening, and so all that follows."""


class AccountWrite(NamedTuple):
    """What a batch brought to one locked account: amounts to be added, and times and days to be taken in.

    `moves`: whether its goals are concerned; `earliest_at`: from when on its worth or inflow moved, if they did.
    """

    tenant: str
    account_id: str
    currency: str | None
    opening_minor: int
    worth_minor: int
    inflow_minor: int
    first_report_at: datetime | None
    last_report_at: datetime | None
    last_transaction_at: datetime | None
    dirty_from: date | None
    late_from: date | None
    late_through: date | None
    moves: bool
    earliest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Moved:
    """What the statement did. `left`: the goals that are still to be settled; `moved`: how many others it moved.

    Among the left are those that it moved to a milestone or the target. `late`: the accounts whose links look back
    beyond what the batch moved.
    """

    moved: int = 0
    left: frozenset[GoalKey] = frozenset()
    late: frozenset[AccountKey] = frozenset()


_PACKS: dict[str, Callable[[Any], object]] = {
    "opening_minor": int8s,
    "worth_minor": int8s,
    "inflow_minor": int8s,
    "first_report_at": moments,
    "last_report_at": moments,
    "last_transaction_at": moments,
    "dirty_from": dates,
    "late_from": dates,
    "late_through": dates,
    "moves": bools,
    "earliest_at": moments,
}
_GIVEN = f"""unnest({bulk.split("tenants")}, {bulk.split("accounts")}, {split_or_null("currency")},
        {", ".join(f":{column}" for column in AccountWrite._fields[3:])})
    AS s({", ".join(AccountWrite._fields)})"""

# Cut towards zero as core.goals.money.share does, in two parts that cannot overflow: for a measure of q millions and r,
# q * ppm is whole, and r * ppm / 1,000,000 has the sign of the whole and is cut by the division.
SHARE = "measured / 1000000 * l.ppm + measured % 1000000 * l.ppm / 1000000"
_AMOUNT = """CASE g.tracking WHEN 'balance' THEN 0 ELSE g.typed_minor END + CASE g.type WHEN 'debt' THEN -1 ELSE 1 END
                * CASE g.tracking WHEN 'balance' THEN c.open_minor ELSE c.all_minor END"""

_WRITE = text(
    f"""WITH written AS (
        UPDATE accounts a SET currency = coalesce(a.currency, s.currency),
            opening_minor = a.opening_minor + s.opening_minor,
            worth_minor = a.worth_minor + s.worth_minor,
            inflow_minor = a.inflow_minor + s.inflow_minor,
            first_report_at = least(a.first_report_at, s.first_report_at),
            last_report_at = greatest(a.last_report_at, s.last_report_at),
            last_transaction_at = greatest(a.last_transaction_at, s.last_transaction_at),
            dirty_from = least(a.dirty_from, s.dirty_from),
            late_from = least(a.late_from, s.late_from),
            late_through = greatest(a.late_through, s.late_through)
        FROM {_GIVEN}
        WHERE a.tenant = s.tenant AND a.account_id = s.account_id
        RETURNING a.tenant, a.account_id, a.currency, a.worth_minor, a.inflow_minor, a.first_report_at,
            a.kind <> 'liability' AND (a.kind_rank IS NOT NULL OR a.first_report_at IS NOT NULL) AS is_known_asset,
            s.moves, s.earliest_at
    ), sums AS MATERIALIZED (
        SELECT w.tenant, l.goal_id, count(*) AS sources,
            CAST(sum({SHARE}) AS bigint) AS all_minor,
            CAST(sum({SHARE}) FILTER (WHERE l.until_at IS NULL) AS bigint) AS open_minor,
            bool_and(w.first_report_at IS NOT NULL) FILTER (WHERE l.until_at IS NULL) AS are_reported,
            bool_or(w.is_known_asset) AS has_asset,
            CASE WHEN count(w.currency) = count(*) AND min(w.currency) = max(w.currency)
                THEN min(w.currency) END AS currency,
            min(l.until_at) AS first_until_at,
            array_agg(w.account_id) FILTER (WHERE w.earliest_at < greatest(l.begin_at, l.until_at)) AS late_ids,
            CASE WHEN count(*) = 1 THEN ARRAY[min(w.account_id)]
                ELSE ARRAY(SELECT DISTINCT each COLLATE "C" FROM unnest(array_agg(w.account_id)) AS each ORDER BY 1)
                END AS account_ids
        FROM written w
        JOIN links l ON l.tenant = w.tenant AND l.account_id = w.account_id
        CROSS JOIN LATERAL (SELECT CASE WHEN l.until_at < l.begin_at THEN 0 ELSE coalesce(l.end_minor,
            CASE l.measure WHEN 'inflow' THEN w.inflow_minor ELSE w.worth_minor END) - l.base_minor END AS measured
        ) AS of_link
        WHERE w.moves
        GROUP BY w.tenant, l.goal_id
    ), changed AS (
        UPDATE goals g SET before_minor = g.amount_minor, amount_minor = {_AMOUNT},
            entries = g.entries + 1, version = g.version + 1, updated_at = greatest(:now, g.updated_at)
        FROM (SELECT * FROM sums WHERE late_ids IS NULL ORDER BY tenant, goal_id) AS c
        WHERE g.tenant = c.tenant AND g.goal_id = c.goal_id
            AND g.sources = c.sources AND g.currency = c.currency
            AND g.status IN ('active', 'paused') AND g.waiting_for = '{{}}' AND CASE g.tracking
                WHEN 'net_worth' THEN false
                WHEN 'balance' THEN c.are_reported AND NOT (g.type = 'debt' AND c.has_asset)
                ELSE (c.first_until_at >= g.typed_at) IS NOT FALSE END
            AND g.amount_minor <> {_AMOUNT}
        RETURNING g.tenant, g.goal_id, g.entries, g.before_minor, g.amount_minor, c.account_ids,
            g.status = 'active' AND CASE g.type
                WHEN 'debt' THEN g.amount_minor <= g.next_milestone_minor
                    OR (g.reached_at IS NULL AND g.amount_minor <= g.finish_minor)
                ELSE g.amount_minor >= g.next_milestone_minor
                    OR (g.reached_at IS NULL AND g.amount_minor >= g.target_minor) END AS has_passed
    ), noted AS (
        INSERT INTO goal_entries (tenant, goal_id, entry, recorded_at, before_minor, after_minor, cause, account_ids)
        SELECT tenant, goal_id, entries, :now, before_minor, amount_minor, 'events', account_ids FROM changed
    )
    SELECT 'moved' AS what, NULL AS tenant, NULL AS id, count(*) AS goals FROM changed WHERE has_passed IS NOT TRUE
    UNION ALL SELECT 'left', tenant, goal_id, NULL FROM changed WHERE has_passed
    UNION ALL SELECT 'late', tenant, unnest(late_ids), NULL FROM sums WHERE late_ids IS NOT NULL
    UNION ALL SELECT 'left', tenant, goal_id, NULL
        FROM (SELECT tenant, goal_id FROM sums EXCEPT SELECT tenant, goal_id FROM changed) AS untouched
        WHERE (SELECT count(*) FROM sums) <> (SELECT count(*) FROM changed)"""
)


def write_accounts_and_plain_goals(session: Session, writes: Sequence[AccountWrite], now: datetime) -> Moved:
    """Write locked accounts, at most one write each, and move the plain goals of those that move."""
    if not writes:
        return Moved()
    moved = 0
    left: set[GoalKey] = set()
    late: set[AccountKey] = set()
    for what, tenant, name, goals in session.execute(_WRITE, _parameters(writes) | {"now": now}).all():
        if what == "moved":
            moved = goals
        else:
            (left if what == "left" else late).add((tenant, name))
    return Moved(moved, frozenset(left), frozenset(late))


def _parameters(writes: Sequence[AccountWrite]) -> dict[str, object]:
    columns = AccountWrite(*zip(*writes, strict=True))  # type: ignore[arg-type]  # a column each, not a value
    packed: dict[str, object] = {
        "tenants": bulk.joined(columns.tenant),
        "accounts": bulk.joined(columns.account_id),
        "currency": joined_or_null(columns.currency or ()),
    }
    for name, pack in _PACKS.items():
        packed[name] = pack(getattr(columns, name))
    return packed
