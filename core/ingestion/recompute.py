"""Recomputing locked goals: their amounts, ledger entries and what they have reached; ending their links."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.events.calendar import INSTANT
from core.goals.amounts import amount, contributing_links, waiting_for
from core.goals.money import share
from core.ingestion.account_moves import AccountMoves
from core.ingestion.crossings import crossing_of, has_crossed, mark_crossings
from core.store import ledger
from core.store.driver import Session
from core.store.goals import GoalKey, GoalRow, write_goal
from core.store.links import FundingRow, LinkRow, delete_link, funding_of_goals, write_end
from core.store.measures import measures_before, read_measures


@dataclass(slots=True)
class Recomputed:
    """What recomputing changed. `goals` are the rows that differ now, which the caller writes."""

    goals: dict[GoalKey, GoalRow] = field(default_factory=dict)
    milestones_reached: int = 0


def recompute_goals(
    session: Session,
    goals: Sequence[GoalRow],
    now: datetime,
    *,
    cause: str,
    moves: AccountMoves | None = None,
    funding: Mapping[GoalKey, list[FundingRow]] | None = None,
) -> Recomputed:
    """Recompute locked goals from the accounts of their links; writes all that follows but not the goals' rows.

    That is ledger entries, reached milestones and messages. `moves` is what a batch did to accounts: it says at which
    effective time a milestone was reached. Without `moves` that time is `now`. Only active goals that wait for no
    report reach milestones and send messages. `funding`: the goals' links as they are now, if the caller has them.
    """
    moves = moves or AccountMoves()
    if funding is None:
        funding = funding_of_goals(session, (goal.key for goal in goals))
    recomputed = Recomputed()
    entries: list[ledger.Entry] = []
    crossing: list[GoalRow] = []
    for goal in goals:
        before = goal.amount_minor
        if _recompute(session, goal, funding[goal.key]):
            recomputed.goals[goal.key] = goal
            goal.version += 1
            goal.updated_at = max(now, goal.updated_at)
        if goal.amount_minor != before:
            entries.append(_entry(goal, before, funding[goal.key], moves, now, cause))
        if has_crossed(goal):
            crossing.append(goal)
            goal.version += goal.key not in recomputed.goals
            recomputed.goals[goal.key] = goal
            goal.updated_at = max(now, goal.updated_at)
    ledger.write_entries(session, entries)
    crossings = [crossing_of(goal, funding[goal.key], moves, now) for goal in crossing]
    recomputed.milestones_reached = mark_crossings(session, crossings, now)
    return recomputed


def _recompute(session: Session, goal: GoalRow, sources: Sequence[FundingRow]) -> bool:
    """Update the row's start and amount, and the accounts that it waits for; returns whether any of them changed."""
    links = [source.funded(goal) for source in sources]
    waiting = list(waiting_for(goal.tracking, links, final_at=goal.final_at))
    has_started_anew = goal.starts_at_balance and _start_at_balance(session, goal, sources, is_waiting=bool(waiting))
    new_amount = amount(goal.tracking, goal.direction, goal.manual_minor, links, final_at=goal.final_at)
    if new_amount == goal.amount_minor and waiting == goal.waiting_for and not has_started_anew:
        return False
    if (goal.waiting_for and not waiting) or has_started_anew:
        # The wait is over: closing the days again marks the milestones that end-of-day amounts reached meanwhile.
        goal.mark_dirty_from(goal.start_date)
    goal.amount_minor, goal.waiting_for = new_amount, waiting
    return True


def _start_at_balance(session: Session, goal: GoalRow, sources: Sequence[FundingRow], *, is_waiting: bool) -> bool:
    """Let a debt start at the first balance of its accounts; returns whether its start is another one now.

    That is the sum of its present shares of what each account owed when it was first linked or, if that was later, when
    its balance became known. So it follows from the facts in any order. It stays while the goal has no accounts, and
    there is none while one of them is waited for, or all that it has count nothing.
    """
    funded = contributing_links(goal.tracking, [source.funded(goal) for source in sources], final_at=goal.final_at)
    if is_waiting or not funded:
        return _take_start_back(session, goal, sources)
    known = {source.row.link.account_id: source.known_at for source in sources}
    moments: dict[str, datetime] = {}
    for source in sources:
        account_id, moment = source.row.link.account_id, source.row.link.from_at
        known_at = known[account_id]
        if known_at is not None:
            moment = max(moment, known_at + INSTANT)
        moments[account_id] = min(moments.get(account_id, moment), moment)
    measures = read_measures(session, ((goal.tenant, *each) for each in moments.items()))
    owed = [
        share(measures[goal.tenant, each.link.account_id, moments[each.link.account_id]].worth_minor, each.link.ppm)
        for each in funded
    ]
    before = goal.start_minor
    goal.start_minor = goal.direction * sum(owed)
    if goal.manual_at is None:
        goal.manual_minor = goal.start_minor
    return goal.start_minor != before


def _take_start_back(session: Session, goal: GoalRow, sources: Sequence[FundingRow]) -> bool:
    if goal.start_minor is None or all(source.row.unlinked_at is not None for source in sources):
        return False
    goal.start_minor = None
    if goal.manual_at is None:
        (created,) = ledger.entries_of_goal(session, goal.key, below=2, at=None, limit=1)
        goal.manual_minor = created.after_minor
    return True


def _entry(
    goal: GoalRow, before: int, sources: Sequence[FundingRow], moves: AccountMoves, now: datetime, cause: str
) -> ledger.Entry:
    moved = sorted({s.row.link.account_id for s in sources if s.row.account_key in moves})
    goal.entries += 1
    return ledger.Entry(goal.tenant, goal.goal_id, goal.entries, now, before, goal.amount_minor, cause, moved)


def cut_links(session: Session, goal: GoalRow, rows: Iterable[LinkRow], at: datetime) -> None:
    """Let links count nothing from a moment on, as a request asks: those that begin only then are removed.

    Accounts and goal must be locked.
    """
    for row in rows:
        if row.link.from_at >= at:
            delete_link(session, row)
        elif row.link.ends_after(at):
            for _, until_at, end_minor in _ends(session, goal, [row], at):
                write_end(session, row, until_at, end_minor, until_at)


def end_links(session: Session, goal: GoalRow, rows: Iterable[LinkRow], at: datetime) -> None:
    """End links at the final moment of their goal, which is no longer in their period; accounts and goal are locked.

    A link that began only after that moment gets an empty period.
    """
    for row, until_at, end_minor in _ends(session, goal, rows, at):
        write_end(session, row, until_at, end_minor, row.unlinked_at)


def restore_links(session: Session, goal: GoalRow, rows: Iterable[LinkRow]) -> None:
    """Let links of a goal that is not final any more end where a request ended them, and the others go on.

    Accounts and goal are locked.
    """
    for row in rows:
        if row.unlinked_at is None:
            write_end(session, row, None, None, None)
        elif row.unlinked_at != row.link.until_at:
            for _, until_at, end_minor in _ends(session, goal, [row], row.unlinked_at):
                write_end(session, row, until_at, end_minor, until_at)


def _ends(
    session: Session, goal: GoalRow, rows: Iterable[LinkRow], at: datetime
) -> Iterator[tuple[LinkRow, datetime, int]]:
    """When each link ends if it ends at a moment or, if that is later, at its begin; and the measure there."""
    by_end: dict[datetime, list[LinkRow]] = {}
    for row in rows:
        by_end.setdefault(max(at, row.link.from_at), []).append(row)
    for until_at, ending in by_end.items():
        measures = measures_before(session, goal.tenant, (row.link.account_id for row in ending), until_at)
        for row in ending:
            yield row, until_at, measures[row.link.account_id].of(row.measure)


def recompute_goal(
    session: Session, goal: GoalRow, now: datetime, *, cause: str, sources: list[FundingRow] | None = None
) -> None:
    """Recompute a locked goal that a request changed, and write its row.

    `now` is the moment of the request; `sources` are its links as they are now, if the caller has them.
    """
    version = goal.version
    recompute_goals(session, [goal], now, cause=cause, funding=None if sources is None else {goal.key: sources})
    goal.version = version + 1
    goal.acted_at = now
    goal.updated_at = max(now, goal.updated_at)
    write_goal(session, goal)
