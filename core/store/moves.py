"""The statement that writes the accounts of a batch and moves the amounts of their goals.

A goal's amount is a sum of shares, each cut by itself. So where nothing but a worth or an inflow has changed, the
amount moves by the difference of the share before and after, of each link of each account that moved, and no other
account has to be read. The statement moves such goals, writes their ledger lines, and says which crossed something.

The other goals of these accounts are returned, and have to be recomputed: an account means something else to them, or
has a fact dated before the begin or the end of its link, or before its rows sufficed, where a debt may start; they wait
for a report; or a link of theirs counts nothing.

All goals, those too, are locked in id order: two batches can only wait for each other if they lock in different orders.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from core.store import driver
from core.store.accounts import AccountKey
from core.store.crossed import CrossedGoal, crossed_goal
from core.store.driver import Row, Session, Sql, bools, dates, int8s, joined_or_null, moments, places, split_or_null
from core.store.goals import GoalKey

# What new transactions add to one locked account: its tenant and the place of its row, by how much its worth and its
# inflow move, the time of the last one, and the day and the moment from which on worth and inflow are others; None if
# neither moves. Then the least and the greatest time at which one of them was first reported; None if none was.
Addition = tuple[str, bytes, int, int, datetime | None, date | None, datetime | None, datetime | None, datetime | None]


class AccountsMissed(Exception):
    """An account was not at its place: the transaction has to be rolled back. It would be a fault of this code."""


class AccountWrite(NamedTuple):
    """All that a batch changes in one locked account: amounts to add, and times and days by which ranges are extended.

    `currency` and what is known of the fact that decides it are as they will be. `begins_anew`: the currency is another
    one, so the times of the account's reports and of its last row are those that are given, whatever they were.
    `replaces`: one of its new transactions replaces another one. `lends`: one is removed that was booked with a date.
    `last_window_at`: the time of the account's last window, None if it has none. `is_another`: the account means
    something else to its goals now, which all have to be recomputed.
    """

    addition: Addition
    currency: str | None
    currency_from: str | None
    currency_time: datetime | None
    currency_source: str | None
    currency_event_id: str | None
    begins_anew: bool
    opening_minor: int
    first_report_at: datetime | None
    last_report_at: datetime | None
    late_from: date | None
    late_through: date | None
    replaces: bool
    lends: bool
    last_window_at: datetime | None
    is_another: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """What the statement did.

    `goals`: how many it moved. `crossed`: those of them whose amount came to a milestone or the target; the caller has
    to mark what was reached. `to_recompute`: the locked goals that the caller has to recompute. `late`: the accounts
    with a link that begins or ended after the earliest change of the batch; the caller has to correct these links.
    """

    goals: int = 0
    crossed: Sequence[CrossedGoal] = ()
    to_recompute: frozenset[GoalKey] = frozenset()
    late: frozenset[AccountKey] = frozenset()


# The columns of an Addition, then those of AccountWrite: Postgres fills the shorter arrays up with nulls.
_PACKS: dict[str, Callable[[Any], object]] = {
    "tenant": driver.joined,
    "place": places,
    "worth_minor": int8s,
    "inflow_minor": int8s,
    "last_transaction_at": moments,
    "dirty_from": dates,
    "earliest_at": moments,
    "first_recorded_at": moments,
    "last_recorded_at": moments,
    "currency": joined_or_null,
    "currency_from": joined_or_null,
    "currency_time": moments,
    "currency_source": joined_or_null,
    "currency_event_id": joined_or_null,
    "begins_anew": bools,
    "opening_minor": int8s,
    "first_report_at": moments,
    "last_report_at": moments,
    "late_from": dates,
    "late_through": dates,
    "replaces": bools,
    "lends": bools,
    "last_window_at": moments,
    "is_another": bools,
}
_GIVEN = ", ".join(
    driver.split(name) if pack is driver.joined else split_or_null(name) if pack is joined_or_null else f":{name}"
    for name, pack in _PACKS.items()
)


def _share(measured: str) -> str:
    """SQL for a link's share, rounded towards zero, as core.goals.money.share does.

    It is the sum of two parts that cannot overflow: a measure is q millions and r; q * ppm is a whole number, and
    r * ppm / 1,000,000 has the same sign and is rounded towards zero by the division.
    """
    return f"({measured}) / 1000000 * l.ppm + ({measured}) % 1000000 * l.ppm / 1000000"


def _written(column: str) -> str:
    """SQL for a column that an AccountWrite gives and an Addition leaves as it is."""
    return f"CASE WHEN s.begins_anew IS NULL THEN a.{column} ELSE s.{column} END"


def _unless_anew(column: str) -> str:
    return f"CASE WHEN s.begins_anew THEN NULL ELSE a.{column} END"


SHARE = _share("measured")
_GOAL = CrossedGoal.__struct_fields__
_NO_GOAL, _NO_MORE = ", ".join(["NULL"] * len(_GOAL)), ", ".join(["NULL"] * (len(_GOAL) - 2))
_HAS_CROSSED = """g.status = 'active' AND CASE g.type
                WHEN 'debt' THEN g.amount_minor <= g.next_milestone_minor
                    OR (g.reached_at IS NULL AND g.amount_minor <= g.finish_minor)
                ELSE g.amount_minor >= g.next_milestone_minor
                    OR (g.reached_at IS NULL AND g.amount_minor >= g.target_minor) END"""
_MOVED_MINOR = "CASE g.type WHEN 'debt' THEN -m.moved_minor ELSE m.moved_minor END"
# The shares of these goals were added up with one that counts nothing. Their sum may even be 0.
_COUNTS_TOO_MUCH = "(m.has_known_asset AND g.type = 'debt' AND g.tracking = 'balance')"
_IS_LEFT = f"""(m.is_to_recompute OR g.currency IS DISTINCT FROM m.currency OR g.waiting_for <> '{{}}'
                OR {_COUNTS_TOO_MUCH})"""
# The accounts are locked, so their links are those that the statement sees. A goal may change while the statement waits
# for its lock: then Postgres looks at the goal's new row with the same differences, which stay true. A goal that is
# left is written as it is, which locks it in its turn.
_WRITE = Sql(
    f"""WITH written AS (
        UPDATE accounts a SET currency = {_written("currency")},
            currency_from = {_written("currency_from")},
            currency_time = {_written("currency_time")},
            currency_source = {_written("currency_source")},
            currency_event_id = {_written("currency_event_id")},
            opening_minor = a.opening_minor + coalesce(s.opening_minor, 0),
            worth_minor = a.worth_minor + s.worth_minor,
            inflow_minor = a.inflow_minor + s.inflow_minor,
            first_report_at = least({_unless_anew("first_report_at")}, s.first_report_at),
            last_report_at = greatest({_unless_anew("last_report_at")}, s.last_report_at),
            last_transaction_at = greatest({_unless_anew("last_transaction_at")}, s.last_transaction_at),
            first_recorded_at = least(a.first_recorded_at, s.first_recorded_at),
            last_recorded_at = greatest(a.last_recorded_at, s.last_recorded_at),
            dirty_from = least(a.dirty_from, s.dirty_from),
            late_from = least(a.late_from, s.late_from),
            late_through = greatest(a.late_through, s.late_through),
            replaces = a.replaces OR s.replaces IS TRUE,
            lends = a.lends OR s.lends IS TRUE,
            last_window_at = greatest(a.last_window_at, s.last_window_at)
        FROM unnest({_GIVEN}) AS s({", ".join(_PACKS)})
        WHERE a.ctid = s.place AND a.tenant = s.tenant
        RETURNING a.tenant, a.account_id, a.currency, a.worth_minor, a.inflow_minor, s.earliest_at,
            s.worth_minor AS worth_moved, s.inflow_minor AS inflow_moved,
            a.kind <> 'liability' AND (a.kind_rank IS NOT NULL OR a.first_report_at IS NOT NULL) AS is_known_asset,
            s.is_another IS TRUE AS is_another, (s.earliest_at <= a.known_by_rows_at) IS TRUE AS is_before_known
    ), moved AS (
        SELECT tenant, goal_id, CAST(sum(moved_minor) AS bigint) AS moved_minor, array_agg(account_id) AS account_ids,
            array_agg(account_id) FILTER (WHERE is_late) AS late_ids, min(currency) AS currency,
            bool_or(has_known_asset) AS has_known_asset,
            bool_or(is_to_recompute) OR min(currency) <> max(currency) AS is_to_recompute
        FROM (
            SELECT w.tenant, l.goal_id, w.account_id, w.currency, w.is_known_asset AS has_known_asset,
                w.is_another OR w.is_before_known OR of_link.is_late AS is_to_recompute, of_link.is_late,
                CASE WHEN l.until_at IS NULL THEN {_share("of_link.measured")}
                    - ({_share("of_link.measured - of_link.moved")}) ELSE 0 END AS moved_minor
            FROM written w
            JOIN links l ON l.tenant = w.tenant AND l.account_id = w.account_id
            CROSS JOIN LATERAL (
                SELECT CASE l.measure WHEN 'inflow' THEN w.inflow_minor ELSE w.worth_minor END - l.base_minor
                        AS measured,
                    CASE l.measure WHEN 'inflow' THEN w.inflow_moved ELSE w.worth_moved END AS moved,
                    (w.earliest_at < greatest(coalesce(l.begin_at, l.from_at), l.until_at)) IS TRUE AS is_late
                ) AS of_link
            WHERE w.earliest_at IS NOT NULL OR w.is_another
            UNION ALL
            SELECT tenant, goal_id, NULL, NULL, false, true, false, 0
            FROM {driver.keys("left_tenants", "left_goals")} AS given(tenant, goal_id)
        ) AS of_links
        GROUP BY goal_id, tenant ORDER BY goal_id, tenant
    ), changed AS (
        UPDATE goals g SET amount_minor = CASE WHEN {_IS_LEFT} THEN g.amount_minor
                ELSE g.amount_minor + {_MOVED_MINOR} END,
            entries = CASE WHEN {_IS_LEFT} THEN g.entries ELSE g.entries + 1 END,
            version = CASE WHEN {_IS_LEFT} THEN g.version ELSE g.version + 1 END,
            updated_at = CASE WHEN {_IS_LEFT} THEN g.updated_at ELSE greatest(:now, g.updated_at) END
        FROM moved m
        WHERE g.tenant = m.tenant AND g.goal_id = m.goal_id
            AND (m.moved_minor <> 0 OR m.is_to_recompute OR {_COUNTS_TOO_MUCH})
        RETURNING {", ".join(f"g.{column}" for column in _GOAL)}, g.entries, m.account_ids,
            g.amount_minor - {_MOVED_MINOR} AS before_minor, {_IS_LEFT} AS is_left, {_HAS_CROSSED} AS has_crossed
    ), noted AS (
        INSERT INTO goal_entries (tenant, goal_id, entry, recorded_at, before_minor, after_minor, cause, account_ids)
        SELECT tenant, goal_id, entries, :now, before_minor, amount_minor, 'events', CASE cardinality(account_ids)
            WHEN 1 THEN account_ids
            ELSE ARRAY(SELECT DISTINCT id COLLATE "C" FROM unnest(account_ids) AS id ORDER BY 1) END
        FROM changed WHERE NOT is_left
    )
    SELECT CASE WHEN is_left THEN 'to_recompute' ELSE 'crossed' END, CAST(NULL AS bigint), {", ".join(_GOAL)}
        FROM changed WHERE is_left OR has_crossed
    UNION ALL SELECT 'moved', count(*), {_NO_GOAL} FROM changed WHERE NOT is_left
    UNION ALL SELECT 'written', count(*), {_NO_GOAL} FROM written
    UNION ALL SELECT 'late', NULL, tenant, unnest(late_ids), {_NO_MORE} FROM moved WHERE late_ids IS NOT NULL"""
)


def write_accounts(
    session: Session,
    additions: Sequence[Addition],
    writes: Sequence[AccountWrite],
    to_recompute: Collection[GoalKey],
    now: datetime,
) -> Moved:
    """Write locked accounts, at most one write each, and move their goals but for those that are `to_recompute`.

    All these goals are locked in id order, and stay locked.
    """
    if not additions and not writes:
        return Moved()
    columns = [*zip(*[write.addition for write in writes], *additions, strict=True)]
    columns += zip(*[write[1:] for write in writes], strict=True) if writes else [()] * len(AccountWrite._fields[1:])
    parameters = _packed(columns)
    keys = list(to_recompute)
    parameters |= {"left_tenants": driver.joined(k[0] for k in keys), "left_goals": driver.joined(k[1] for k in keys)}
    rows: dict[str, list[Row]] = defaultdict(list)
    for what, *row in _WRITE.rows(session, parameters | {"now": now}):
        rows[what].append(tuple(row))
    ((goals, *_),), ((written, *_),) = rows["moved"], rows["written"]
    if written != len(additions) + len(writes):
        raise AccountsMissed
    return Moved(
        goals,
        [crossed_goal(row[1:]) for row in rows["crossed"]],
        frozenset([(row[1], row[2]) for row in rows["to_recompute"]]),
        frozenset([(row[1], row[2]) for row in rows["late"]]),
    )


def _packed(columns: Sequence[Sequence[Any]]) -> dict[str, object]:
    """The columns as parameters; equal columns of times are packed once, since of one new row all its times are one."""
    parameters: dict[str, object] = {}
    times: list[tuple[Sequence[Any], object]] = []
    for (name, pack), column in zip(_PACKS.items(), columns, strict=True):
        known = next((packed for other, packed in times if other == column), None) if pack is moments else None
        parameters[name] = pack(column) if known is None else known
        if pack is moments and known is None:
            times.append((column, parameters[name]))
    return parameters
