"""Goals: create, read, list, change, reopen and delete them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, datetime

from core.errors import AmountFollowsAccounts, InvalidField, NotFinal, NotFound
from core.events.calendar import EARLIEST, local_day
from core.goals.amounts import follows_accounts
from core.goals.details import GoalDetails, check_image_url, check_metadata, check_position
from core.goals.goal import (
    DESCRIPTION_LONGEST,
    NAME_LONGEST,
    GoalStatus,
    GoalType,
    Tracking,
    can_start_as,
    check_current,
    check_target,
    check_text,
    default_tracking,
    follows_balances,
    is_final,
    move,
    retarget,
    span_from_balance,
    span_of,
)
from core.goals.money import digits, to_minor
from core.goals.progress import is_goal_reached
from core.ingestion.messages import completion_withdrawn, goal_changed, goal_completed, goal_created, goal_withdrawn
from core.ingestion.recompute import end_links, recompute_goal, restore_links
from core.services.goal_access import Versions, locked_goal_and_accounts, moment_for, refuse_final
from core.services.inputs import UNSET, DayOrMoment, GoalChanges, GoalDraft, MaybeUnset, Stated, check_id, is_id, new_id
from core.services.milestones import insert_draft, next_of
from core.services.pages import Page, cut, id_after, shown_as
from core.services.views import GoalView, goal_view
from core.store import goals as store
from core.store.accounts import lock_accounts
from core.store.driver import Savepoint, Session
from core.store.goals import GoalRow, add_manual_amount, at_or_day, insert_goal, write_details
from core.store.ledger import Entry, write_entries
from core.store.links import FundingRow, delete_links, rebase_link
from core.store.measures import MeasuresBefore, measures_before
from core.store.net_worths import accounts_of_user, join_net_worth, lock_user_alone
from core.store.outbox import withdraw_messages, write_messages
from core.store.seen_goals import list_seen_goals, read_seen_goals
from core.store.tenants import Tenant, note_operation


def create_goal(session: Session, tenant: Tenant, draft: GoalDraft, now: datetime) -> GoalView:
    """Create a goal; raises InvalidField.

    A debt without a current amount starts with its target as the amount owed, but one that follows balances starts at
    its first balance.
    """
    digits(draft.currency)
    target = _amount(draft, draft.target_amount, "target_amount")
    check_target(draft.type, target)
    current = _current(draft, target)
    check_current(draft.type, current)
    if not can_start_as(draft.status):
        raise InvalidField("status", "a goal is created active or paused")
    span = span_from_balance(target) if _starts_at_balance(draft) else span_of(draft.type, target, current)
    start_date = _start_date(draft.start_date, tenant, now)
    deadline_at, deadline_day = at_or_day(draft.deadline)
    row = GoalRow(
        tenant=tenant.name,
        goal_id=new_id("goal", now),
        user_id=check_id("user_id", draft.user_id),
        name=check_text("name", draft.name, longest=NAME_LONGEST),
        description=_description(draft.description),
        type=draft.type,
        tracking=_tracking(draft),
        tracking_by_default=draft.tracking is None,
        currency=draft.currency,
        debt_form=span.form,
        target_minor=target,
        start_minor=span.start_minor,
        starts_at_balance=span.starts_at_balance,
        finish_minor=span.finish_minor,
        manual_minor=current,
        manual_at=None,
        amount_minor=current,
        waiting_for=[],
        next_milestone_minor=None,
        reached_at=None,
        deadline_at=deadline_at,
        deadline_day=deadline_day,
        start_date=start_date,
        dirty_from=start_date,
        evaluated_from=now,
        auto_complete=draft.auto_complete,
        auto_completed=False,
        status=draft.status,
        final_at=None,
        acted_at=now,
        entries=1,
        version=0,
        created_at=now,
        updated_at=now,
    )
    members = _lock_accounts_of_user(session, row) if row.tracking is Tracking.NET_WORTH else []
    insert_goal(session, row)
    details = _details(GoalDetails(), draft)
    if details != GoalDetails():
        write_details(session, row.key, details)
    for number, milestone in enumerate(draft.milestones):
        try:
            insert_draft(session, row, milestone, now)
        except InvalidField as error:
            raise InvalidField(error.field, error.message, inside=("milestones", number)) from None
    row.next_milestone_minor = next_of(session, row) if draft.milestones else None
    join_net_worth(session, row.key, members, None)
    write_entries(session, [Entry(row.tenant, row.goal_id, 1, now, None, current, "created", [])])
    recompute_goal(session, row, now, cause="created")
    write_messages(session, [goal_created(row, now)])
    return _with_note(_view(session, row), _past_deadline(draft.deadline, tenant, now))


def _details(before: GoalDetails, given: GoalDraft | GoalChanges) -> GoalDetails:
    """What an application keeps with a goal, after a draft or changes; raises InvalidField."""
    details = before
    if given.external_id is not UNSET:
        external_id = None if given.external_id is None else check_id("external_id", given.external_id)
        details = replace(details, external_id=external_id)
    if given.metadata is not UNSET:
        details = replace(details, metadata=None if given.metadata is None else check_metadata(given.metadata))
    if given.position is not UNSET:
        details = replace(details, position=None if given.position is None else check_position(given.position))
    if given.image_url is not UNSET:
        details = replace(details, image_url=None if given.image_url is None else check_image_url(given.image_url))
    return details


def _amount(draft: GoalDraft, stated: Stated, field: str) -> int:
    return to_minor(stated, draft.currency, field)


def _current(draft: GoalDraft, target: int) -> int:
    if draft.current_amount is not None:
        return _amount(draft, draft.current_amount, "current_amount")
    return target if draft.type is GoalType.DEBT else 0


def _starts_at_balance(draft: GoalDraft) -> bool:
    return draft.type is GoalType.DEBT and draft.tracking is Tracking.BALANCE and draft.current_amount is None


def _description(text: str | None) -> str | None:
    if text is None:
        return None
    return check_text("description", text, longest=DESCRIPTION_LONGEST, blank_allowed=True, lines_allowed=True)


def _tracking(draft: GoalDraft) -> Tracking:
    tracking = draft.tracking or default_tracking(draft.type)
    if tracking is Tracking.NET_WORTH and draft.type is GoalType.DEBT:
        raise InvalidField("tracking", "a debt cannot follow a net worth; use balance or change")
    return tracking


def _lock_accounts_of_user(session: Session, row: GoalRow) -> list[str]:
    """Lock the user's accounts, and keep others from being added until the transaction ends.

    Which accounts these are can change until the user is locked, which must come after the accounts. So this function
    looks them up, locks them, then the user, and looks again. If an account was added in between, it rolls back to the
    savepoint, which releases the locks, and tries again.
    """
    while True:
        attempt = Savepoint(session, "attempt")
        found = accounts_of_user(session, row.tenant, row.user_id)
        lock_accounts(session, ((row.tenant, account_id) for account_id in found))
        lock_user_alone(session, row.tenant, row.user_id)
        present = accounts_of_user(session, row.tenant, row.user_id)
        if set(present) <= set(found):
            return present
        attempt.undo()


def _start_date(start_date: date | None, tenant: Tenant, now: datetime) -> date:
    today = local_day(now, tenant.zone)
    if start_date is None:
        return today
    if not EARLIEST.date() <= start_date <= today:
        raise InvalidField("start_date", "must not be after today or before 1900")
    return start_date


def update_goal(
    session: Session, tenant: Tenant, goal_id: str, changes: GoalChanges, now: datetime, *, seen: Versions | None = None
) -> GoalView:
    """Change a goal at one moment: first texts, deadline and target, then the amount, then the status.

    Raises NotFound, GoalMoved, InvalidField, GoalIsFinal, AmountFollowsAccounts and StatusMoveRefused.
    """
    goal, sources, _ = locked_goal_and_accounts(session, tenant, goal_id, seen=seen)
    at = moment_for(goal, now)
    today = local_day(at, tenant.zone)
    before = replace(goal)
    _change_texts(goal, changes)
    if changes.target_amount is not UNSET:
        refuse_final(goal)
        if _change_target(goal, changes.target_amount):
            _evaluate_from(goal, at)
        if goal.reached_at is None:
            withdraw_messages(session, [goal_withdrawn(goal, at)])
    if changes.current_amount is not UNSET:
        refuse_final(goal)
        sources = _set_amount(session, goal, sources, changes.current_amount, at)
    details = read_seen_goals(session, [goal.key])[goal.key].details if _has_details(changes) else GoalDetails()
    changed = _details(details, changes)
    if changed != details:
        write_details(session, goal.key, changed)
    # The amount is recomputed before the status changes, so that a milestone which it reaches counts even if the same
    # request completes the goal.
    if goal != before:
        goal.mark_dirty_from(today)
    if goal != before or changed != details:
        recompute_goal(session, goal, at, cause="typed", sources=sources)
    if changes.status is not UNSET and move(goal.status, changes.status):
        goal.status = changes.status
        goal.mark_dirty_from(today)
        if is_final(goal.status):
            goal.final_at = at
            end_links(session, goal, (s.row for s in sources if s.row.link.is_open), at)
        if goal.status is GoalStatus.ACTIVE:
            _evaluate_from(goal, at)
        recompute_goal(session, goal, at, cause="status")
    _write_changes(session, goal, before, at)
    return _with_note(_view(session, goal), _past_deadline(changes.deadline, tenant, at))


def _write_changes(session: Session, goal: GoalRow, before: GoalRow, at: datetime) -> None:
    """Write the message about another target, deadline or status; completion has a message of its own."""
    is_completed = goal.status is not before.status and goal.status is GoalStatus.COMPLETED
    changed = {
        "target_amount": goal.target_minor != before.target_minor,
        "deadline": (goal.deadline_at, goal.deadline_day) != (before.deadline_at, before.deadline_day),
        "status": goal.status is not before.status and not is_completed,
        # A net worth that follows no accounts any more.
        "funding": goal.tracking is not before.tracking,
    }
    to_write = []
    if any(changed.values()):
        to_write.append(goal_changed(goal, [name for name, is_changed in changed.items() if is_changed], at))
    if is_completed:
        to_write.append(goal_completed(goal, at))
    write_messages(session, to_write)


def _has_details(changes: GoalChanges) -> bool:
    return any(getattr(changes, field.name) is not UNSET for field in fields(GoalDetails))


def _change_texts(goal: GoalRow, changes: GoalChanges) -> None:
    if changes.name is not UNSET:
        goal.name = check_text("name", changes.name, longest=NAME_LONGEST)
    if changes.description is not UNSET:
        goal.description = changes.description and check_text(
            "description", changes.description, longest=DESCRIPTION_LONGEST, blank_allowed=True, lines_allowed=True
        )
    if changes.deadline is not UNSET:
        goal.deadline_at, goal.deadline_day = at_or_day(changes.deadline)


def _change_target(goal: GoalRow, stated: Stated) -> bool:
    """Set the target, and return whether it has changed.

    A goal whose amount is not at the new target can be reached once more.
    """
    target = to_minor(stated, goal.currency, "target_amount")
    check_target(goal.type, target)
    span = retarget(goal.type, goal.span, target)
    has_moved = target != goal.target_minor
    goal.target_minor, goal.start_minor, goal.finish_minor = target, span.start_minor, span.finish_minor
    if not is_goal_reached(goal.type, goal.span, target, goal.amount_minor):
        goal.reached_at = None
    return has_moved


def _set_amount(
    session: Session, goal: GoalRow, sources: list[FundingRow], stated: Stated, at: datetime
) -> list[FundingRow]:
    """Set a manual amount; returns the links that the goal has afterwards.

    It includes everything dated before this moment, so links count only from here on. A goal that follows its user's
    accounts only by default does not follow them any more.
    """
    if goal.tracking is Tracking.NET_WORTH and goal.tracking_by_default:
        sources = _leave_accounts(session, goal, at)
    if follows_accounts(goal.tracking, [source.funded(goal) for source in sources]):
        raise AmountFollowsAccounts
    amount = to_minor(stated, goal.currency, "current_amount")
    check_current(goal.type, amount)
    goal.manual_minor, goal.manual_at, goal.evaluated_from = amount, at, at
    add_manual_amount(session, goal.key, at, amount)
    if follows_balances(goal.tracking):
        return sources
    # Ended links stay as they are: the manual amount includes all that they counted, and only batches that have locked
    # their accounts may change their rows.
    account_ids = [source.row.link.account_id for source in sources if source.row.link.is_open]
    measures = measures_before(session, goal.tenant, account_ids, at)
    return [_rebased(session, source, at, measures) if source.row.link.is_open else source for source in sources]


def _rebased(session: Session, source: FundingRow, at: datetime, measures: Mapping[str, MeasuresBefore]) -> FundingRow:
    """The source of a link that counts only from a moment on."""
    row = source.row
    return source._replace(row=rebase_link(session, row, at, measures[row.link.account_id].of(row.measure)))


def _leave_accounts(session: Session, goal: GoalRow, at: datetime) -> list[FundingRow]:
    """Let a net worth follow no accounts, as if it never had; returns its links, which are none.

    All of its past is then what was set by hand.
    """
    delete_links(session, goal.key)
    goal.tracking = Tracking.CHANGE
    goal.mark_dirty_from(goal.start_date)
    note_operation(
        session,
        goal.tenant,
        action="goal.tracking",
        subject=goal.goal_id,
        at=at,
        detail="change instead of net_worth, since current_amount was set by hand",
    )
    return []


def reopen_goal(
    session: Session, tenant: Tenant, goal_id: str, now: datetime, *, seen: Versions | None = None
) -> GoalView:
    """Make a completed or abandoned goal active again, as if it had never ended, but without `auto_complete`.

    Raises NotFound, GoalMoved and NotFinal.
    """
    goal, sources, _ = locked_goal_and_accounts(session, tenant, goal_id, with_ended=True, seen=seen)
    if not is_final(goal.status):
        raise NotFinal(goal.status.value)
    at = moment_for(goal, now)
    was = goal.status
    goal.status, goal.final_at = GoalStatus.ACTIVE, None
    goal.auto_complete = goal.auto_completed = False
    restore_links(session, goal, (source.row for source in sources))
    _evaluate_from(goal, at)
    recompute_goal(session, goal, at, cause="status")
    if was is GoalStatus.COMPLETED:
        withdraw_messages(session, [completion_withdrawn(goal, at)])
    else:
        write_messages(session, [goal_changed(goal, ["status"], at)])
    note_operation(session, tenant.name, action="goal.reopened", subject=goal.goal_id, at=at, detail=f"was {was.value}")
    return _view(session, goal)


def _evaluate_from(goal: GoalRow, at: datetime) -> None:
    """Let the closes of a goal that is active again, or has another target, be evaluated.

    They mark what the amount has passed, but complete the goal only from now on.
    """
    goal.evaluated_from = at
    goal.mark_dirty_from(goal.start_date)


def delete_goal(session: Session, tenant: Tenant, goal_id: str, now: datetime, *, seen: Versions | None = None) -> None:
    """Delete a goal with its milestones, links and ledger, so that its shares are free again.

    Raises NotFound and GoalMoved.
    """
    goal, _, _ = locked_goal_and_accounts(session, tenant, goal_id, with_ended=True, seen=seen)
    store.delete_goal(session, goal.key)
    note_operation(session, tenant.name, action="goal.deleted", subject=goal.goal_id, at=now)


def get_goal(session: Session, tenant: Tenant, goal_id: str) -> GoalView:
    """One goal with its milestones; raises NotFound."""
    key = tenant.name, goal_id
    seen = read_seen_goals(session, [key]) if is_id(goal_id) else {}
    if key not in seen:
        raise NotFound("Goal", goal_id)
    return goal_view(seen[key])


def read_goals(session: Session, tenant: Tenant, goal_ids: Sequence[str], _now: datetime) -> dict[str, GoalView]:
    """Goals by id, in one statement; one that does not exist is left out."""
    seen = read_seen_goals(session, [(tenant.name, goal_id) for goal_id in goal_ids if is_id(goal_id)])
    return {goal_id: goal_view(each) for (_, goal_id), each in seen.items()}


def list_goals(
    session: Session,
    tenant: Tenant,
    *,
    user_id: str | None,
    type: GoalType | None,
    status: GoalStatus | None,
    limit: int,
    cursor: str | None,
    external_id: str | None = None,
) -> Page[GoalView]:
    """A page of at most `limit` goals in order of creation; raises InvalidField for a cursor that no page returned."""
    after = id_after(cursor)
    if not all(is_id(each) for each in (user_id, external_id) if each is not None):
        return Page((), None)
    given = {"user_id": user_id, "type": type, "status": status, "external_id": external_id}
    filters = {name: value for name, value in given.items() if value is not None}
    seen = list_seen_goals(session, tenant.name, filters, limit=limit + 1, after=after)
    return shown_as(cut(seen, limit, lambda each: each.goal.goal_id), goal_view)


def _past_deadline(deadline: DayOrMoment | MaybeUnset | None, tenant: Tenant, now: datetime) -> str | None:
    """The note about a deadline that was given just now and has passed: a slip more often than not."""
    if deadline is None or deadline is UNSET:
        return None
    has_passed = deadline < now if isinstance(deadline, datetime) else deadline < local_day(now, tenant.zone)
    return "the deadline has passed already" if has_passed else None


def _with_note(goal: GoalView, note: str | None) -> GoalView:
    notes = [each for each in (note, goal.note) if each is not None]
    return replace(goal, note="; ".join(notes) or None)


def _view(session: Session, row: GoalRow) -> GoalView:
    return goal_view(read_seen_goals(session, [row.key])[row.key])
