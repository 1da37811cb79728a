"""Goals, milestones, progress and funding as callers see them. Amounts are minor units."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from core.goals.details import GoalDetails
from core.goals.goal import GoalStatus, GoalType, Tracking, follows_balances
from core.goals.money import WHOLE_PPM, from_ppm
from core.goals.progress import celebration, percent_complete
from core.store.goals import GoalRow
from core.store.links import FundingRow
from core.store.milestones import MilestoneRow
from core.store.seen_goals import SeenGoal

_ONE_PERCENT = WHOLE_PPM // 100


@dataclass(frozen=True, slots=True)
class MilestoneView:
    """A milestone as callers see it; `celebration` is a message for the user once it is reached."""

    milestone_id: str
    amount_minor: int
    description: str | None
    target_date: datetime | date | None
    reached_at: datetime | None
    celebration: str | None

    @property
    def reached(self) -> bool:
        """Whether it was ever reached; this stays true when the amount moves away again."""
        return self.reached_at is not None


@dataclass(frozen=True, slots=True)
class GoalView:
    """A goal as callers see it."""

    goal_id: str
    user_id: str
    name: str
    type: GoalType
    tracking: Tracking
    currency: str
    target_minor: int
    amount_minor: int
    start_minor: int | None
    start_date: date
    deadline: datetime | date | None
    description: str | None
    status: GoalStatus
    auto_complete: bool
    created_at: datetime
    updated_at: datetime
    version: int
    waiting_for: tuple[str, ...]
    note: str | None
    percent_complete: Decimal | None
    details: GoalDetails
    milestones: tuple[MilestoneView, ...]


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How far a goal is, and whether its trend meets the deadline.

    The trend rests on `trend_months` months, `monthly_actual_minor`, the mean of what was contributed in a month, on
    `contribution_months`; both follow from closes as they were at `projected_at`. `monthly_target_minor` is how far
    each month until the deadline has to move the amount. `as_of` is the moment of the newest fact in the amount.
    """

    goal_id: str
    currency: str
    amount_minor: int
    target_minor: int
    percent_complete: Decimal | None
    status: GoalStatus
    deadline: datetime | date | None
    projected_completion_date: datetime | None
    projection_note: str | None
    projected_at: datetime
    trend_months: int
    waiting_for: tuple[str, ...]
    note: str | None
    monthly_actual_minor: int | None
    contribution_months: int
    monthly_target_minor: int | None
    is_on_track: bool | None
    calculated_at: datetime
    as_of: datetime


@dataclass(frozen=True, slots=True)
class MilestoneProgressView:
    """How many of a goal's milestones are reached, and which comes next."""

    goal_id: str
    currency: str
    total_milestones: int
    reached_count: int
    remaining_count: int
    percent_complete: Decimal
    next_milestone: MilestoneView | None


@dataclass(frozen=True, slots=True)
class FundingView:
    """A linked account as callers see it; `counted_minor` is what it adds to the goal's amount, in the goal's currency.

    `note` says why, if it does not count, or what looks like a slip if it does. `linked_at` is since when the account
    has been linked without a break. Lists are ordered by it.
    """

    account_id: str
    account_name: str | None
    ppm: int
    from_at: datetime
    whole: bool
    counted_minor: int
    currency: str
    counts: bool
    note: str | None
    linked_at: datetime


def milestone_view(goal: GoalRow, row: MilestoneRow) -> MilestoneView:
    """The view of a milestone of a goal."""
    message = None
    if row.reached_at is not None:
        message = celebration(goal.direction, row.amount_minor, goal.currency, row.description)
    return MilestoneView(row.milestone_id, row.amount_minor, row.description, row.target_date, row.reached_at, message)


def goal_view(seen: SeenGoal) -> GoalView:
    """The view of a goal with its milestones."""
    row = seen.goal
    return GoalView(
        goal_id=row.goal_id,
        user_id=row.user_id,
        name=row.name,
        type=row.type,
        tracking=row.tracking,
        currency=row.currency,
        target_minor=row.target_minor,
        amount_minor=row.amount_minor,
        start_minor=row.start_minor,
        start_date=row.start_date,
        deadline=row.deadline,
        description=row.description,
        status=row.status,
        auto_complete=row.auto_complete,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        waiting_for=tuple(row.waiting_for),
        note=left_out_note(row, seen.left_out),
        percent_complete=percent_complete(row.type, row.span, row.target_minor, row.amount_minor),
        details=seen.details,
        milestones=tuple(milestone_view(row, milestone) for milestone in seen.milestones),
    )


def left_out_note(goal: GoalRow, left_out: Iterable[tuple[str, str | None]]) -> str | None:
    """Which accounts of its user a net worth leaves out, since they are not in its currency; None if none.

    `left_out` has their ids and currencies.
    """
    accounts = sorted(f"{account_id} ({currency or 'no currency yet'})" for account_id, currency in left_out)
    return f"leaves out accounts that are not in {goal.currency}: {', '.join(accounts)}" if accounts else None


def funding_views(goal: GoalRow, sources: Iterable[FundingRow]) -> tuple[FundingView, ...]:
    """A goal's linked accounts, in the order in which they were linked.

    An account's links that follow each other without a break (after a change of its share, or after it was linked
    again from an earlier date) are one source: `from_at` is where the first begins, `counted_minor` the sum of what
    they added.
    """
    by_account: dict[str, list[FundingRow]] = {}
    for source in sorted(sources, key=lambda each: (each.row.link.from_at, each.row.linked_at)):
        by_account.setdefault(source.row.link.account_id, []).append(source)
    views = []
    for periods in by_account.values():
        present = periods[-1]
        if not present.row.link.is_open:
            continue
        unbroken = [present]
        for earlier in reversed(periods[:-1]):
            if earlier.row.link.until_at != unbroken[-1].row.link.from_at:
                break
            unbroken.append(earlier)
        views.append(_funding_view(goal, unbroken))
    return tuple(sorted(views, key=lambda view: (view.linked_at, view.account_id)))


def _funding_view(goal: GoalRow, unbroken: list[FundingRow]) -> FundingView:
    """The view of an account's links without a break, the present one first."""
    present = unbroken[0]
    is_following = follows_balances(goal.tracking)
    why_not = present.why_not(goal) or _wait_note(goal, present)
    return FundingView(
        account_id=present.row.link.account_id,
        account_name=present.row.account_name or present.known_name,
        ppm=present.row.link.ppm,
        from_at=unbroken[-1].row.link.from_at,
        whole=present.row.whole,
        counted_minor=sum(source.counted(goal) for source in (unbroken[:1] if is_following else unbroken)),
        currency=goal.currency,
        counts=why_not is None,
        note=why_not or _likely_mistake(present),
        linked_at=min(source.row.linked_at for source in unbroken),
    )


def _wait_note(goal: GoalRow, present: FundingRow) -> str | None:
    """The note for a goal that follows balances while the account's balance is not known; else None."""
    is_waiting = follows_balances(goal.tracking) and not present.ever_funded(goal).is_known(goal.final_at)
    return "waits for a balance report of the account" if is_waiting else None


def _likely_mistake(present: FundingRow) -> str | None:
    """All that looks like a slip in a link that counts; None if nothing does."""
    notes = []
    if present.currency is None and present.known_name is None and not present.is_kind_known:
        notes.append("no event has said anything of this account yet")
    if not present.row.whole and present.row.link.ppm < _ONE_PERCENT:
        percent, meant = from_ppm(present.row.link.ppm), from_ppm(100 * present.row.link.ppm)
        notes.append(f"{percent} is {percent}%; did you mean {meant.normalize():f}?")
    return "; ".join(notes) or None
