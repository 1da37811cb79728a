"""The statement that writes a batch's accounts, moves their simple goals, and returns the goals that crossed something.

A simple goal has one link, is active or paused, waits for no report and is not a net worth, and the batch has no fact
for it that is dated before its link's begin or end (the exact condition is in the SQL, at `changed`). The statement
computes such a goal's new amount and writes its ledger line in the same round trip. It returns all other goals of the
accounts that moved, so that the caller recomputes them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy.orm import Session

from core.goals.goal import DebtForm, GoalType, Span, Tracking, direction
from core.goals.links import Link
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Direct, Row, bools, dates, int8s, joined_or_null, moments, split_or_null
from core.store.goals import GoalKey

_LINK_AT = -len(Link._fields)
_TYPES = {each.value: each for each in GoalType}
_TRACKINGS = {each.value: each for each in Tracking}
_DEBT_FORMS = {None: None} | {each.value: each for each in DebtForm}
_MEASURED = ("measure", "measure_minor", "first_report_at")
OF_LINK = (*_MEASURED, *Link._fields)
BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
"""The `earliest_at` of a batch that changed an account's opening: every later worth changes with it."""
_PACKS: dict[str, Callable[[Any], object]] = {
    "currency": joined_or_null,
    "opening_minor": int8s,
    "worth_minor": int8s,
    "inflow_minor": int8s,
    "first_report_at": moments,
    "last_report_at": moments,
    "last_transaction_at": moments,
    "first_day": dates,
    "dirty_from": dates,
    "late_from": dates,
    "late_through": dates,
    "moves": bools,
    "earliest_at": moments,
}


class CrossedGoal(Struct):
    """An active goal whose only link counts, with the present measure of the linked account, in minor units."""

    tenant: str
    goal_id: str
    user_id: str
    name: str
    currency: str
    type: GoalType
    tracking: Tracking
    debt_form: DebtForm | None
    target_minor: int
    start_minor: int
    finish_minor: int
    amount_minor: int
    next_milestone_minor: int | None
    reached_at: datetime | None
    measure: str
    measure_minor: int
    first_report_at: datetime | None
    link: Link

    @property
    def key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def account_key(self) -> AccountKey:
        """(tenant, account_id)."""
        return self.tenant, self.link.account_id

    @property
    def span(self) -> Span:
        """Where the goal starts and where it should end."""
        return Span(self.start_minor, self.finish_minor, self.debt_form)

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""
        return direction(self.type)


class SimpleWrite(NamedTuple):
    """What new transactions add to an account if it has their currency and all its reports are earlier than they are.

    With `currency` None the account is only locked. `first_day` is the local day of the first transaction.
    """

    tenant: str
    account_id: str
    currency: str | None
    worth_minor: int
    inflow_minor: int
    last_transaction_at: datetime | None
    first_day: date | None
    earliest_at: datetime | None


class AccountWrite(NamedTuple):
    """What a batch changes in one locked account: amounts to add, and times and days by which ranges are extended.

    `moves`: whether the account's goals are affected. `earliest_at`: the moment from which on its worth or inflow
    changed; None if they did not.
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
class Written:
    """What the statement did.

    `moved`: how many goals it moved. `crossed`: those of the moved goals whose amount came to a milestone or the
    target; the caller has to mark what was reached. `to_recompute`: the goals that the caller still has to recompute.
    `late`: the accounts with a link that begins or ended after the earliest change of the batch. `locked_only`: the
    accounts that are locked now and to which nothing was added.
    """

    moved: int = 0
    crossed: Sequence[CrossedGoal] = ()
    to_recompute: frozenset[GoalKey] = frozenset()
    late: frozenset[AccountKey] = frozenset()
    locked_only: frozenset[AccountKey] = frozenset()


OF_GOAL = tuple(name for name in CrossedGoal.__struct_fields__ if name not in (*_MEASURED, "link"))
_WRITE_CROSSED = Direct(
    f"""UPDATE goals g SET next_milestone_minor = s.next_milestone_minor, reached_at = s.reached_at
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, :upcoming, :reached)
        AS s(tenant, goal_id, next_milestone_minor, reached_at)
    WHERE (g.tenant, g.goal_id) = (s.tenant, s.goal_id)"""
)
# Rounded towards zero, as core.goals.money.share does, in two parts that cannot overflow: a measure is q millions and
# r; q * ppm is a whole number, and r * ppm / 1,000,000 has the same sign and is rounded towards zero by the division.
SHARE = "measured / 1000000 * l.ppm + measured % 1000000 * l.ppm / 1000000"
_AMOUNT = """CASE g.tracking WHEN 'balance' THEN 0 ELSE g.manual_minor END
                + CASE g.type WHEN 'debt' THEN -1 ELSE 1 END * c.share_minor"""
# The statement sees links as they were when it began. While it waited for an account's lock, another transaction may
# have changed the account's links. Then the statement only locks the account, and the caller writes it with the next
# statement, which sees the changed links.
_IS_SIMPLE = """a.currency = s.currency AND (a.last_report_at < s.earliest_at) IS NOT FALSE
                AND (a.linked_xid < (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)))
                    IS NOT FALSE"""

_NO_MORE = ", ".join(["NULL"] * (len(OF_GOAL + OF_LINK) - 2))


def _given(columns: Sequence[str]) -> str:
    """SQL for the rows to be written, sorted by the database, not by Python, which is the order of `lock_accounts`."""
    further = ", ".join(f":{column}" for column in columns[3:])
    return f"""(SELECT * FROM unnest(
            {driver.split("tenant")}, {driver.split("account_id")}, {split_or_null("currency")}, {further}
        ) AS given({", ".join(columns)}) ORDER BY tenant, account_id) s"""


def _statement(assignments: str, columns: Sequence[str], moves: str) -> Direct:
    """The statement that writes rows of `columns` to accounts; `moves` is SQL for whether an account's goals move."""
    return Direct(
        f"""WITH written AS (
        UPDATE accounts a SET {assignments}
        FROM {_given(columns)}
        WHERE a.tenant = s.tenant AND a.account_id = s.account_id
        RETURNING a.tenant, a.account_id, a.currency, a.worth_minor, a.inflow_minor, a.first_report_at,
            a.kind <> 'liability' AND (a.kind_rank IS NOT NULL OR a.first_report_at IS NOT NULL) AS is_known_asset,
            s.earliest_at, ({moves}) IS TRUE AS moves
    ), linked AS (
        SELECT w.tenant, w.account_id, l.goal_id, w.currency, w.first_report_at, w.is_known_asset,
            l.measure, now_at.measure_minor, l.ppm, l.from_at, l.until_at, l.begin_at, l.base_minor, l.end_minor,
            (w.earliest_at < greatest(l.begin_at, l.until_at)) IS TRUE AS is_late, {SHARE} AS share_minor
        FROM written w
        JOIN links l ON l.tenant = w.tenant AND l.account_id = w.account_id
        CROSS JOIN LATERAL (
            SELECT CASE l.measure WHEN 'inflow' THEN w.inflow_minor ELSE w.worth_minor END AS measure_minor) AS now_at
        CROSS JOIN LATERAL (
            SELECT CASE WHEN l.until_at < l.begin_at THEN 0
                ELSE coalesce(l.end_minor, now_at.measure_minor) - l.base_minor END AS measured) AS of_link
        WHERE w.moves AND (SELECT count(*) FROM written) = :accounts
    ), changed AS (
        UPDATE goals g SET before_minor = g.amount_minor, amount_minor = {_AMOUNT},
            entries = g.entries + 1, version = g.version + 1, updated_at = greatest(:now, g.updated_at)
        FROM linked c
        WHERE g.tenant = c.tenant AND g.goal_id = c.goal_id
            AND g.sources = 1 AND NOT c.is_late AND g.currency = c.currency
            AND g.status IN ('active', 'paused') AND g.waiting_for = '{{}}' AND CASE g.tracking
                WHEN 'net_worth' THEN false
                WHEN 'balance' THEN c.until_at IS NULL AND c.first_report_at IS NOT NULL
                    AND NOT (g.type = 'debt' AND c.is_known_asset)
                ELSE (c.until_at >= g.manual_at) IS NOT FALSE END
            AND g.amount_minor <> {_AMOUNT}
        RETURNING {", ".join(f"g.{column}" for column in OF_GOAL)}, {", ".join(f"c.{column}" for column in OF_LINK)},
            g.entries, g.before_minor, g.status = 'active' AND CASE g.type
                WHEN 'debt' THEN g.amount_minor <= g.next_milestone_minor
                    OR (g.reached_at IS NULL AND g.amount_minor <= g.finish_minor)
                ELSE g.amount_minor >= g.next_milestone_minor
                    OR (g.reached_at IS NULL AND g.amount_minor >= g.target_minor) END AS has_crossed
    ), noted AS (
        INSERT INTO goal_entries (tenant, goal_id, entry, recorded_at, before_minor, after_minor, cause, account_ids)
        SELECT tenant, goal_id, entries, :now, before_minor, amount_minor, 'events', ARRAY[account_id] FROM changed
    )
    SELECT 'crossed' AS what, CAST(NULL AS bigint) AS number, {", ".join(OF_GOAL + OF_LINK)}
        FROM changed WHERE has_crossed
    UNION ALL SELECT 'written', count(*), NULL, NULL, {_NO_MORE} FROM written
    UNION ALL SELECT 'locked_only', NULL, tenant, account_id, {_NO_MORE} FROM written WHERE NOT moves
    UNION ALL SELECT 'moved', count(*), NULL, NULL, {_NO_MORE} FROM changed
    UNION ALL SELECT 'late', NULL, tenant, account_id, {_NO_MORE} FROM linked WHERE is_late
    UNION ALL SELECT 'to_recompute', NULL, tenant, goal_id, {_NO_MORE} FROM linked
        WHERE (SELECT count(*) FROM linked) <> (SELECT count(*) FROM changed)
            AND (tenant, goal_id) NOT IN (SELECT tenant, goal_id FROM changed)"""
    )


_WRITE_SIMPLE = _statement(
    f"""worth_minor = a.worth_minor + CASE WHEN {_IS_SIMPLE} THEN s.worth_minor ELSE 0 END,
            inflow_minor = a.inflow_minor + CASE WHEN {_IS_SIMPLE} THEN s.inflow_minor ELSE 0 END,
            last_transaction_at = greatest(a.last_transaction_at,
                CASE WHEN {_IS_SIMPLE} THEN s.last_transaction_at END),
            dirty_from = least(a.dirty_from, CASE WHEN {_IS_SIMPLE} THEN s.first_day END)""",
    SimpleWrite._fields,
    _IS_SIMPLE,
)
_WRITE = _statement(
    """currency = coalesce(a.currency, s.currency),
            opening_minor = a.opening_minor + s.opening_minor,
            worth_minor = a.worth_minor + s.worth_minor,
            inflow_minor = a.inflow_minor + s.inflow_minor,
            first_report_at = least(a.first_report_at, s.first_report_at),
            last_report_at = greatest(a.last_report_at, s.last_report_at),
            last_transaction_at = greatest(a.last_transaction_at, s.last_transaction_at),
            dirty_from = least(a.dirty_from, s.dirty_from),
            late_from = least(a.late_from, s.late_from),
            late_through = greatest(a.late_through, s.late_through)""",
    AccountWrite._fields,
    "s.moves",
)


def crossed_goal(row: Row) -> CrossedGoal:
    """A goal from the columns of OF_GOAL and then OF_LINK."""
    columns = [*row[:_LINK_AT], Link(*row[_LINK_AT:])]
    goal = CrossedGoal(*columns)
    goal.type, goal.tracking = _TYPES[goal.type], _TRACKINGS[goal.tracking]
    goal.debt_form = _DEBT_FORMS[goal.debt_form]
    return goal


def write_crossed(session: Session, goals: Sequence[CrossedGoal]) -> None:
    """Write back the next milestone and the time of reaching the target; moving the goals raised their versions."""
    columns: dict[str, object] = {
        "upcoming": int8s([goal.next_milestone_minor for goal in goals]),
        "reached": moments([goal.reached_at for goal in goals]),
    }
    _WRITE_CROSSED.run(session, driver.key_columns("goals", [goal.key for goal in goals]) | columns)


def write_simple_accounts(session: Session, writes: Sequence[SimpleWrite], now: datetime) -> Written | None:
    """Lock accounts in id order, add the transactions to those that are simple, and move the simple goals of these.

    At most one write for each account. None if any of the accounts does not exist yet: then no goal is changed.
    """
    if not writes:
        return Written()
    accounts, written = _run(session, _WRITE_SIMPLE, writes, now)
    return written if accounts == len(writes) else None


def write_accounts(session: Session, writes: Sequence[AccountWrite], now: datetime) -> Written:
    """Write locked accounts, at most one write each, and move the simple goals of the accounts that move."""
    return _run(session, _WRITE, writes, now)[1] if writes else Written()


def _run(
    session: Session, statement: Direct, writes: Sequence[SimpleWrite] | Sequence[AccountWrite], now: datetime
) -> tuple[int, Written]:
    """How many of the accounts exist, and what the statement did; if one does not exist, no goal is moved."""
    fields = writes[0]._fields
    columns = dict(zip(fields, zip(*writes, strict=True), strict=True))
    packed = {name: _PACKS.get(name, driver.joined)(column) for name, column in columns.items()}
    crossed: list[CrossedGoal] = []
    keys: dict[str, list[tuple[str, str]]] = {"to_recompute": [], "late": [], "locked_only": []}
    counts = {}
    for row in statement.rows(session, packed | {"now": now, "accounts": len(writes)}):
        what, number = row[:2]
        if what == "crossed":
            crossed.append(crossed_goal(row[2:]))
        elif number is None:
            keys[what].append((row[2], row[3]))
        else:
            counts[what] = number
    sets = {what: frozenset(found) for what, found in keys.items()}
    return counts["written"], Written(counts["moved"], crossed, **sets)
