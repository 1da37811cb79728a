"""Every operation of the Python interface in process: parsing, core function and rendering, as in its REST route."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from api.bodies import parse_body
from api.context import RequestContext
from api.schemas.goals import funding_body, goal_body, milestone_body, milestone_progress_body, progress_body
from api.schemas.requests import Allocation, GoalPatch, NewGoal, NewLink, NewMilestone
from core.goals.goal import GoalStatus, GoalType
from core.services.funding import change_allocation, link_account, list_funding, unlink_account
from core.services.goals import create_goal, delete_goal, get_goal, list_goals, update_goal
from core.services.milestones import (
    add_milestone,
    check_milestones,
    list_milestones,
    milestone_progress,
    next_milestone,
)
from core.services.pages import PAGE_LARGEST, Page
from core.services.progress import goal_progress
from milepost.client.transport import ApiRequest

Item = TypeVar("Item")
Operation = Callable[[RequestContext, ApiRequest], Any]


def _create_goal(context: RequestContext, request: ApiRequest) -> Any:
    draft = parse_body(NewGoal, request.raw_body).draft()
    return goal_body(create_goal(context.session, context.tenant, draft, context.now))


def _get_goal(context: RequestContext, request: ApiRequest) -> Any:
    return goal_body(get_goal(context.session, context.tenant, request.path[0]))


def _list_goals(context: RequestContext, request: ApiRequest) -> Any:
    type, status = request.query.get("type"), request.query.get("status")

    def page(cursor: str | None) -> Page[Any]:
        return list_goals(
            context.session,
            context.tenant,
            user_id=request.query.get("user_id"),
            type=None if type is None else GoalType(type),
            status=None if status is None else GoalStatus(status),
            limit=PAGE_LARGEST,
            cursor=cursor,
        )

    return [goal_body(goal) for goal in _all(page)]


def _update_goal(context: RequestContext, request: ApiRequest) -> Any:
    patch = parse_body(GoalPatch, request.raw_body)
    seen = None if patch.expected_version is None else frozenset({patch.expected_version})
    return goal_body(
        update_goal(context.session, context.tenant, request.path[0], patch.changes(), context.now, seen=seen)
    )


def _delete_goal(context: RequestContext, request: ApiRequest) -> Any:
    delete_goal(context.session, context.tenant, request.path[0], context.now)


def _get_goal_progress(context: RequestContext, request: ApiRequest) -> Any:
    return progress_body(goal_progress(context.session, context.tenant, request.path[0], context.now))


def _add_milestone(context: RequestContext, request: ApiRequest) -> Any:
    draft = parse_body(NewMilestone, request.raw_body).draft()
    milestone = add_milestone(context.session, context.tenant, request.path[0], draft, context.now)
    return milestone_body(milestone, get_goal(context.session, context.tenant, request.path[0]).currency)


def _list_milestones(context: RequestContext, request: ApiRequest) -> Any:
    currencies = set()

    def page(cursor: str | None) -> Page[Any]:
        currency, found = list_milestones(
            context.session, context.tenant, request.path[0], limit=PAGE_LARGEST, cursor=cursor
        )
        currencies.add(currency)
        return found

    milestones = _all(page)
    (currency,) = currencies
    return [milestone_body(milestone, currency) for milestone in milestones]


def _check_milestones(context: RequestContext, request: ApiRequest) -> Any:
    currency, milestones = check_milestones(context.session, context.tenant, request.path[0], context.now)
    return [milestone_body(milestone, currency) for milestone in milestones]


def _get_milestone_progress(context: RequestContext, request: ApiRequest) -> Any:
    return milestone_progress_body(milestone_progress(context.session, context.tenant, request.path[0]))


def _get_next_milestone(context: RequestContext, request: ApiRequest) -> Any:
    currency, milestone = next_milestone(context.session, context.tenant, request.path[0])
    return None if milestone is None else milestone_body(milestone, currency)


def _link_account_to_goal(context: RequestContext, request: ApiRequest) -> Any:
    draft = parse_body(NewLink, request.raw_body).draft()
    return funding_body(link_account(context.session, context.tenant, request.path[0], draft, context.now))


def _get_goal_funding(context: RequestContext, request: ApiRequest) -> Any:
    def page(cursor: str | None) -> Page[Any]:
        return list_funding(context.session, context.tenant, request.path[0], limit=PAGE_LARGEST, cursor=cursor)

    return [funding_body(source) for source in _all(page)]


def _update_account_allocation(context: RequestContext, request: ApiRequest) -> Any:
    goal_id, _, account_id = request.path
    percent = parse_body(Allocation, request.raw_body).allocation_percent
    return funding_body(change_allocation(context.session, context.tenant, goal_id, account_id, percent, context.now))


def _remove_account_from_goal(context: RequestContext, request: ApiRequest) -> Any:
    goal_id, _, account_id = request.path
    unlink_account(context.session, context.tenant, goal_id, account_id, context.now)


def _all(page: Callable[[str | None], Page[Item]]) -> list[Item]:
    """The items of all pages, read in one transaction."""
    found = page(None)
    items = list(found.items)
    while found.next_cursor is not None:
        found = page(found.next_cursor)
        items += found.items
    return items


# Each operation, and the status of its success over REST.
OPERATIONS: Mapping[str, tuple[Operation, int]] = {
    "create_goal": (_create_goal, 201),
    "get_goal": (_get_goal, 200),
    "list_goals": (_list_goals, 200),
    "update_goal": (_update_goal, 200),
    "delete_goal": (_delete_goal, 204),
    "get_goal_progress": (_get_goal_progress, 200),
    "add_milestone": (_add_milestone, 201),
    "list_milestones": (_list_milestones, 200),
    "check_milestones": (_check_milestones, 200),
    "get_milestone_progress": (_get_milestone_progress, 200),
    "get_next_milestone": (_get_next_milestone, 200),
    "link_account_to_goal": (_link_account_to_goal, 201),
    "get_goal_funding": (_get_goal_funding, 200),
    "update_account_allocation": (_update_account_allocation, 200),
    "remove_account_from_goal": (_remove_account_from_goal, 204),
}
