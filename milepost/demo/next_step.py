"""A milestone that moves on, so that whoever looks at the demo sees one reached every minute.

All other milestones of the demo were reached in its past, or are months away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import simplejson

from core.goals.goal import GoalStatus
from core.goals.money import to_decimal, to_minor
from core.messages.types import MessageType
from core.services.inputs import MilestoneChanges, MilestoneDraft
from core.services.messages import read_messages
from core.services.milestones import add_milestone, change_milestone
from core.services.views import GoalView
from core.store.driver import Session
from core.store.outbox import FeedFilter
from core.store.tenants import Tenant
from milepost.demo.fill import goals_of

DESCRIPTION = "The next step"
# In units of the currency. The first is the farthest that the step may be away; the rounder amount is taken first.
_UNITS = (50, 10, 5, 1)
_PAGE = 200


@dataclass(slots=True)
class NextStep:
    """Keeps one milestone of a goal a little above its amount.

    The trickle moves the amount up and back. An amount at which the milestone was reached is not taken again: the
    message about it would be withdrawn.
    """

    user_id: str
    goal_name: str
    _used_minor: set[int] | None = None

    def set(self, session: Session, tenant: Tenant, now: datetime) -> None:
        """Move the milestone on if it was reached, or is too far away; raises MilepostError if it can't be moved."""
        goal = goals_of(session, tenant, self.user_id).get(self.goal_name)
        if goal is None or goal.status is not GoalStatus.ACTIVE:
            return
        milestone = next((each for each in goal.milestones if each.description == DESCRIPTION), None)
        if self._used_minor is None:
            self._used_minor = _reached_before(session, tenant, goal)
        if milestone is not None and milestone.reached:
            self._used_minor.add(milestone.amount_minor)
        elif milestone is not None and milestone.amount_minor <= goal.amount_minor + _minor(_UNITS[0], goal):
            return
        amount_minor = _choose(goal, self._used_minor)
        if amount_minor is None:
            return
        amount = to_decimal(amount_minor, goal.currency)
        if milestone is None:
            add_milestone(session, tenant, goal.goal_id, MilestoneDraft(amount, DESCRIPTION), now)
        else:
            change_milestone(session, tenant, goal.goal_id, milestone.milestone_id, MilestoneChanges(amount), now)


def _reached_before(session: Session, tenant: Tenant, goal: GoalView) -> set[int]:
    """The amounts of the goal's milestones of which there are messages: an earlier run may have set them."""
    wanted = FeedFilter([MessageType.MILESTONE_REACHED], None, goal.goal_id)
    found: set[int] = set()
    page = read_messages(session, tenant, wanted, after=None, limit=_PAGE)
    while page.messages or page.has_more:
        for each in page.messages:
            amount = simplejson.loads(each.payload, use_decimal=True)["data"]["milestone_amount"]
            found.add(to_minor(amount, goal.currency, "amount"))
        page = read_messages(session, tenant, wanted, after=page.next, limit=_PAGE)
    return found


def _choose(goal: GoalView, used_minor: set[int]) -> int | None:
    taken = used_minor | {each.amount_minor for each in goal.milestones}
    most_minor = min(goal.amount_minor + _minor(_UNITS[0], goal), goal.target_minor)
    for unit_minor in (_minor(unit, goal) for unit in _UNITS):
        first_minor = (goal.amount_minor // unit_minor + 1) * unit_minor
        for amount_minor in range(first_minor, most_minor + 1, unit_minor):
            if amount_minor not in taken:
                return amount_minor
    return None


def _minor(units: int, goal: GoalView) -> int:
    return to_minor(units, goal.currency, "amount")
