"""Allocations: the shares of an account that go to goals, read by account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import NotFound
from core.goals.goal import Tracking
from core.goals.links import Allotment, allot, why_not
from core.goals.money import share
from core.services.inputs import is_id
from core.services.pages import Page, cut, id_after, shown_as
from core.services.views import funding_views
from core.store.accounts import AccountKey
from core.store.allocations import EqualShares, KnownAccount, read_account, shares_of_account
from core.store.goals import GoalRow, goals_funded_by
from core.store.links import FundingRow, funding_by_account
from core.store.tenants import Tenant


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

    The sum leaves out links that count the account whole, and links that do not count. While the account's currency is
    unknown all amounts are unknown too, and 0 here.
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
        share_minor=0 if source.note else share(worth_minor, source.ppm),
        from_at=source.from_at,
        note=source.note,
    )
