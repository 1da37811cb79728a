"""Messages about goals and milestones: what each says, and whether it was there before."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from core.goals.goal import GoalType, Span, Tracking
from core.goals.money import to_decimal
from core.messages.types import MessageType, body, id_part, utc
from core.store.goals import GoalRow
from core.store.links import FundingRow
from core.store.outbox import Message


class MessageGoal(Protocol):
    """What every message says of a goal."""

    tenant: str
    goal_id: str
    user_id: str
    name: str
    currency: str
    type: GoalType
    tracking: Tracking
    amount_minor: int
    target_minor: int
    created_at: datetime

    @property
    def span(self) -> Span:
        """Where the goal starts and where it should end."""


def milestone_reached(
    goal: MessageGoal,
    amount_minor: int,
    description: str | None,
    reached_at: datetime,
    now: datetime,
    *,
    is_historical: bool,
) -> Message:
    """A milestone was reached."""
    about = {**_milestone(goal, amount_minor), "description": description, "reached_at": utc(reached_at)}
    subject = _milestone_subject(goal, amount_minor)
    message = _message(goal, MessageType.MILESTONE_REACHED, subject, about, reached_at, now)
    return message._replace(is_historical=is_historical, threshold_minor=amount_minor)


def milestone_withdrawn(goal: MessageGoal, amount_minor: int, now: datetime) -> Message:
    """A milestone is not reached after all: the facts were corrected, or there is another milestone at its amount."""
    subject = _milestone_subject(goal, amount_minor)
    return _message(goal, MessageType.MILESTONE_REACHED_WITHDRAWN, subject, _milestone(goal, amount_minor), now, now)


def goal_reached(goal: MessageGoal, reached_at: datetime, now: datetime, *, is_historical: bool) -> Message:
    """A goal has reached its target."""
    about = {"reached_at": utc(reached_at)}
    threshold = goal.span.finish_minor if goal.type is GoalType.DEBT else goal.target_minor
    message = _message(goal, MessageType.GOAL_REACHED, _subject(MessageType.GOAL_REACHED, goal), about, reached_at, now)
    return message._replace(is_historical=is_historical, threshold_minor=threshold)


def goal_withdrawn(goal: MessageGoal, now: datetime) -> Message:
    """A goal is not at its target after all: the facts were corrected, or it has another target."""
    subject = _subject(MessageType.GOAL_REACHED, goal)
    return _message(goal, MessageType.GOAL_REACHED_WITHDRAWN, subject, {}, now, now)


def goal_completed(goal: GoalRow, now: datetime, *, is_historical: bool = False) -> Message:
    """A goal was completed, by a request or by the close of a day."""
    assert goal.final_at is not None, "a completed goal has a final moment"
    about = {"completed_at": utc(goal.final_at), "automatically": goal.auto_completed}
    subject = _subject(MessageType.GOAL_COMPLETED, goal)
    message = _message(goal, MessageType.GOAL_COMPLETED, subject, about, goal.final_at, now)
    return message._replace(is_historical=is_historical)


def completion_withdrawn(goal: MessageGoal, now: datetime) -> Message:
    """A goal is active again: it was reopened, or the facts that completed it were corrected."""
    subject = _subject(MessageType.GOAL_COMPLETED, goal)
    return _message(goal, MessageType.GOAL_COMPLETED_WITHDRAWN, subject, {}, now, now)


def goal_created(goal: GoalRow, now: datetime) -> Message:
    """A goal was created."""
    subject = _subject(MessageType.GOAL_CREATED, goal)
    return _message(goal, MessageType.GOAL_CREATED, subject, _as_it_is(goal), now, now)


def goal_changed(goal: GoalRow, changed: Iterable[str], now: datetime) -> Message:
    """A request changed a goal's target, deadline, status or funding; `changed` names which."""
    about = {**_as_it_is(goal), "changed": sorted(changed)}
    return _message(goal, MessageType.GOAL_CHANGED, _subject(MessageType.GOAL_CHANGED, goal), about, now, now)


def was_known(goal: MessageGoal, sources: Sequence[FundingRow], at: datetime) -> bool:
    """Whether something that happened at a moment was there when the goal began to count one of its accounts.

    That is the latest of the goal's creation, the account's link and its first balance. Nobody has to be notified of
    what was there before: whoever makes a goal of an account knows what is on it.
    """
    begins = [(source.row.linked_at, source.known_at) for source in sources if source.counts(goal)]
    return any(at <= max(goal.created_at, linked_at, known_at or linked_at) for linked_at, known_at in begins)


def _subject(message_type: MessageType, goal: MessageGoal) -> str:
    return f"{id_part(message_type)}:{goal.goal_id}"


def _milestone_subject(goal: MessageGoal, amount_minor: int) -> str:
    return f"{_subject(MessageType.MILESTONE_REACHED, goal)}:{amount_minor}"


def _milestone(goal: MessageGoal, amount_minor: int) -> dict[str, object]:
    return {"milestone_amount": to_decimal(amount_minor, goal.currency)}


def _as_it_is(goal: GoalRow) -> dict[str, object]:
    deadline = goal.deadline_day if goal.deadline_at is None else goal.deadline_at
    return {"status": goal.status, "deadline": None if deadline is None else _moment_or_day(deadline)}


def _moment_or_day(value: datetime | date) -> object:
    return utc(value) if isinstance(value, datetime) else value


def _message(
    goal: MessageGoal,
    message_type: MessageType,
    subject: str,
    about: Mapping[str, object],
    happened_at: datetime,
    now: datetime,
) -> Message:
    data = {
        "goal_id": goal.goal_id,
        "user_id": goal.user_id,
        "name": goal.name,
        "type": goal.type,
        "current_amount": to_decimal(goal.amount_minor, goal.currency),
        "target_amount": to_decimal(goal.target_minor, goal.currency),
        "currency": goal.currency,
        **about,
    }
    payload = body(message_type, happened_at, data)
    return Message(goal.tenant, goal.goal_id, subject, message_type, goal.user_id, payload, happened_at, now)
