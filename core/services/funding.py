"""Funding: accounts linked to a goal, their shares changed, links ended, and what an account gives to which goals."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from core.errors import InvalidField, NotFound
from core.events.calendar import EARLIEST, INSTANT, day_start, local_day
from core.events.facts import AccountKind
from core.goals.goal import NAME_LONGEST, GoalType, Tracking, check_text, follows_balances, measure_of
from core.goals.links import Allotment, Link, allocate, allot, why_not
from core.goals.money import WHOLE_PPM, from_ppm, share, to_ppm
from core.ingestion.messages import goal_changed
from core.ingestion.recompute import cut_links, recompute_goal
from core.services.goal_access import (
    Versions,
    find_goal,
    locked_goal_and_accounts,
    moment_for,
    refuse_final,
    refuse_links,
)
from core.services.inputs import LinkDraft, Stated, check_id, is_id
from core.services.pages import PAGE_LARGEST, Page, cut, id_after, moment_and_id_after, shown_as
from core.services.views import FundingView, funding_views
from core.store.account_views import EqualShares, KnownAccount, read_account, shares_of_account
from core.store.accounts import AccountKey, AccountRow
from core.store.driver import Session
from core.store.goals import GoalRow, goals_funded_by
from core.store.links import FundingRow, LinkRow, funding_by_account, funding_of_goals, insert_link
from core.store.measures import measures_before
from core.store.outbox import write_messages
from core.store.tenants import Tenant, note_operation


def link_account(
    session: Session, tenant: Tenant, goal_id: str, draft: LinkDraft, now: datetime, *, seen: Versions | None = None
) -> FundingView:
    """Begin a link; if the account is linked already, the new share replaces the old one from now on.

    An account that no event has named yet may be linked. Raises NotFound, GoalMoved, GoalIsFinal, TakesNoLinks,
    AllocationExceeded and InvalidField.
    """
    account_id = check_id("account_id", draft.account_id)
    ppm = to_ppm(draft.allocation_percent, "allocation_percent")
    if draft.whole and ppm != WHOLE_PPM:
        raise InvalidField("allocation_percent", "is 100 for an account that counts whole: leave it out")
    name = None if draft.account_name is None else check_text("account_name", draft.account_name, longest=NAME_LONGEST)
    goal, sources, accounts = locked_goal_and_accounts(session, tenant, goal_id, [account_id], seen=seen)
    account = accounts[tenant.name, account_id]
    refuse_final(goal)
    refuse_links(goal)
    _check_account(goal, account)
    _refuse_joined(sources, account_id)
    at = moment_for(goal, now)
    if not draft.whole:
        allocate(shared_out(sources), account_id, ppm)
    from_at = _begin_of(draft, tenant, at)
    own = sorted((s.row for s in sources if s.row.link.account_id == account_id), key=lambda row: row.link.from_at)
    previous = next((row for row in own if row.link.is_open), None)
    cut_links(session, goal, own, at)
    name = name or (previous.account_name if previous else None)
    gaps = _uncovered(from_at, at, [(row.link.from_at, row.link.until_at or at) for row in own])
    for number, (begin, end) in enumerate(gaps):
        # Periods that an earlier link covers do not count again. The other periods count with the new share.
        linked_at = at + (number + 1) * INSTANT
        until_at = end if end < at else None
        begin_link(session, goal, account, ppm, begin, linked_at, name, until_at=until_at, whole=draft.whole)
    if not gaps or gaps[-1][1] < at:
        begin_link(session, goal, account, ppm, at, at, name, whole=draft.whole)
    goal.evaluated_from = at
    goal.mark_dirty_from(local_day(gaps[0][0] if gaps else at, tenant.zone))
    # Every new row has used a moment of its own, so the goal's last request moves to the latest one.
    recompute_goal(session, goal, at + len(gaps) * INSTANT, cause="linked")
    write_messages(session, [goal_changed(goal, ["funding"], at)])
    return view_of(session, goal, account_id)


def begin_link(
    session: Session,
    goal: GoalRow,
    account: AccountRow,
    ppm: int,
    from_at: datetime,
    linked_at: datetime,
    account_name: str | None,
    *,
    until_at: datetime | None = None,
    whole: bool = False,
) -> None:
    """Write a link of a locked account to a locked goal.

    It counts from the later of `from_at` and the moment of the manual amount; for a goal that follows balances, it
    counts the present balance.
    """
    measure = measure_of(goal.tracking)
    begin_at, base = None, 0
    if not follows_balances(goal.tracking):
        begin_at = from_at if goal.manual_at is None else max(from_at, goal.manual_at)
        base = measures_before(session, goal.tenant, [account.account_id], begin_at)[account.account_id].of(measure)
    end = None
    if until_at is not None:
        end = measures_before(session, goal.tenant, [account.account_id], until_at)[account.account_id].of(measure)
    link = Link(account.account_id, ppm, from_at, until_at, begin_at, base, end)
    insert_link(session, LinkRow(goal.tenant, goal.goal_id, linked_at, measure, whole, account_name, link, until_at))


def shared_out(sources: Iterable[FundingRow]) -> list[tuple[str, int]]:
    """(account_id, ppm) of the open links, without those that count an account whole."""
    return [(s.row.link.account_id, s.row.link.ppm) for s in sources if s.row.link.is_open and not s.row.whole]


def view_of(session: Session, goal: GoalRow, account_id: str) -> FundingView:
    """The open link of an account to a goal, as callers see it."""
    views = funding_views(goal, funding_of_goals(session, [goal.key])[goal.key])
    return next(view for view in views if view.account_id == account_id)


def _check_account(goal: GoalRow, account: AccountRow) -> None:
    if account.is_closed:
        raise InvalidField("account_id", "the account is closed and takes no new links")
    if account.currency is not None and account.currency != goal.currency:
        raise InvalidField("account_id", f"the account is in {account.currency}, but the goal is in {goal.currency}")
    is_known_asset = account.is_kind_known and account.kind is AccountKind.ASSET
    if goal.type is GoalType.DEBT and goal.tracking is Tracking.BALANCE and is_known_asset:
        raise InvalidField("account_id", "a debt goal that follows balances takes liabilities only")


def _refuse_joined(sources: Iterable[FundingRow], account_id: str) -> None:
    """Raise InvalidField for an account that the goal has already by a link to one that is joined with it."""
    for source in sources:
        name = source.row.link.account_id
        if source.row.link.is_open and name != account_id and account_id in [c.account_id for c in source.counting]:
            raise InvalidField("account_id", f"the account is joined with {name}, which is linked: change that link")


def _begin_of(draft: LinkDraft, tenant: Tenant, now: datetime) -> datetime:
    if draft.from_ is None:
        return now
    try:
        stated = draft.from_
        from_at = stated.astimezone(UTC) if isinstance(stated, datetime) else day_start(stated, tenant.zone)
    except OverflowError:
        raise InvalidField("from", "is out of range") from None
    if not EARLIEST <= from_at <= now:
        raise InvalidField("from", "may be dated back, but not forward and not before 1900")
    return from_at


def _uncovered(
    from_at: datetime, until_at: datetime, periods: list[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """The parts of [from_at, until_at) that no period covers; periods are half-open and in order of their start."""
    gaps = []
    for begin, end in periods:
        if from_at < min(begin, until_at):
            gaps.append((from_at, min(begin, until_at)))
        from_at = max(from_at, end)
    if from_at < until_at:
        gaps.append((from_at, until_at))
    return gaps


def change_allocation(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    account_id: str,
    allocation_percent: Stated,
    now: datetime,
    *,
    correct_from: date | None = None,
    seen: Versions | None = None,
) -> FundingView:
    """End an account's link and begin the next one with another share, at the same moment.

    That is now, or the first instant of the day `correct_from`: from then on the account counts with the new share,
    whatever links it has had since. Raises NotFound for the goal or the link, GoalMoved, GoalIsFinal, TakesNoLinks,
    AllocationExceeded and InvalidField.
    """
    ppm = to_ppm(allocation_percent, "allocation_percent")
    goal, sources, accounts = locked_goal_and_accounts(session, tenant, goal_id, seen=seen)
    refuse_final(goal)
    refuse_links(goal)
    account = accounts.get((tenant.name, account_id))
    if account is None:
        raise NotFound("Account", account_id)
    allocate(shared_out(sources), account_id, ppm)
    at = moment_for(goal, now)
    from_at = at if correct_from is None else _corrected_from(goal, tenant, correct_from, at)
    own = [source.row for source in sources if source.row.link.account_id == account_id]
    previous = next((row for row in own if row.link.is_open), None)
    if previous is None:
        raise NotFound("Account", account_id)
    cut_links(session, goal, own, from_at)
    begin_link(session, goal, account, ppm, from_at, at, previous.account_name)
    goal.evaluated_from = at
    goal.mark_dirty_from(local_day(from_at, tenant.zone))
    recompute_goal(session, goal, at, cause="allocation")
    write_messages(session, [goal_changed(goal, ["funding"], at)])
    if correct_from is not None:
        _note_correction(session, goal, account_id, f"{from_ppm(ppm)}% from {correct_from} on", at)
    return view_of(session, goal, account_id)


def unlink_account(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    account_id: str,
    now: datetime,
    *,
    correct_from: date | None = None,
    seen: Versions | None = None,
) -> None:
    """End an account's link; what it has counted stays in the goal's amount.

    With `correct_from` the account counts nothing from the first instant of that day on, whatever links it has had
    since. Raises NotFound for the goal, or for an account that has no link to end; GoalMoved, GoalIsFinal, TakesNoLinks
    and InvalidField.
    """
    goal, sources, _ = locked_goal_and_accounts(
        session, tenant, goal_id, with_ended=correct_from is not None, seen=seen
    )
    at = moment_for(goal, now)
    refuse_final(goal)
    refuse_links(goal)
    until_at = at if correct_from is None else _corrected_from(goal, tenant, correct_from, at)
    own = [source.row for source in sources if source.row.link.account_id == account_id]
    if not any(row.link.is_open or (correct_from is not None and row.link.ends_after(until_at)) for row in own):
        raise NotFound("Account", account_id)
    cut_links(session, goal, own, until_at)
    goal.mark_dirty_from(local_day(until_at, tenant.zone))
    recompute_goal(session, goal, at, cause="unlinked")
    write_messages(session, [goal_changed(goal, ["funding"], at)])
    if correct_from is not None:
        _note_correction(session, goal, account_id, f"nothing from {correct_from} on", at)


def _corrected_from(goal: GoalRow, tenant: Tenant, day: date, now: datetime) -> datetime:
    if not goal.start_date <= day <= local_day(now, tenant.zone):
        raise InvalidField("correct_from", f"must be from {goal.start_date}, when the goal began, to today")
    return day_start(day, tenant.zone)


def _note_correction(session: Session, goal: GoalRow, account_id: str, detail: str, at: datetime) -> None:
    subject = f"{goal.goal_id} {account_id}"
    note_operation(session, goal.tenant, action="funding.corrected", subject=subject, at=at, detail=detail)


def list_funding(
    session: Session, tenant: Tenant, goal_id: str, *, limit: int = PAGE_LARGEST, cursor: str | None = None
) -> Page[FundingView]:
    """A page of a goal's linked accounts, in the order in which they were linked; raises NotFound and InvalidField."""
    row = find_goal(session, tenant, goal_id)
    after = moment_and_id_after(cursor)
    views = funding_views(row, funding_of_goals(session, [row.key])[row.key])
    remaining = [view for view in views if after is None or (view.linked_at, view.account_id) > after]
    return cut(remaining, limit, lambda view: f"{view.linked_at.isoformat()} {view.account_id}")


@dataclass(frozen=True, slots=True)
class AllocationView:
    """What one goal gets of an account; `share_minor` is in the account's currency, 0 if it does not count."""

    goal_id: str
    goal_name: str
    tracking: Tracking
    ppm: int
    whole: bool
    share_minor: int
    from_at: datetime
    note: str | None


@dataclass(frozen=True, slots=True)
class AllocationsView:
    """An account, the sum of all its shares, and a page of the goals that get one.

    The sum leaves out net worth goals, and links that do not count. While the account's currency is unknown all amounts
    are unknown too, and 0 here.
    """

    account: KnownAccount
    allotment: Allotment
    page: Page[AllocationView]


def read_allocations(
    session: Session, tenant: Tenant, account_id: str, *, limit: int, cursor: str | None
) -> AllocationsView:
    """The shares of an account, by goal in the order in which the goals were created.

    Raises NotFound for an account that neither an event nor a link has named, and InvalidField for a bad cursor.
    """
    key = (tenant.name, account_id)
    account = read_account(session, key) if is_id(account_id) else None
    if account is None:
        raise NotFound("Account", account_id)
    shares = [(each.ppm, each.number) for each in shares_of_account(session, key) if _counts(account, each)]
    return AllocationsView(account, allot(account.worth_minor, shares), _page(session, key, account, limit, cursor))


def _page(
    session: Session, key: AccountKey, account: KnownAccount, limit: int, cursor: str | None
) -> Page[AllocationView]:
    goals = goals_funded_by(session, key, after=id_after(cursor), limit=limit + 1)
    page = cut(goals, limit, lambda goal: goal.goal_id)
    sources = funding_by_account(session, key, (goal.key for goal in page.items))
    return shown_as(page, lambda goal: _view(goal, sources[goal.key], account.worth_minor))


def _counts(account: KnownAccount, shares: EqualShares) -> bool:
    is_known_asset = account.kind != "liability" and (account.is_kind_known or account.first_report_at is not None)
    return why_not(account.currency, is_known_asset, shares.currency, shares.type, shares.tracking) is None


def _view(goal: GoalRow, periods: list[FundingRow], worth_minor: int) -> AllocationView:
    (source,) = funding_views(goal, periods)
    return AllocationView(
        goal_id=goal.goal_id,
        goal_name=goal.name,
        tracking=goal.tracking,
        ppm=source.ppm,
        whole=source.whole,
        share_minor=share(worth_minor, source.ppm) if source.counts else 0,
        from_at=source.from_at,
        note=source.note,
    )
