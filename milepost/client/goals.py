"""Goals: the documented interface and what else can be done with goals, milestones and funding, over any transport."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Unpack

from milepost.client import arguments, models
from milepost.client.arguments import (
    GOALS,
    Amount,
    GoalChanges,
    MilestoneChanges,
    Moment,
    account_path,
    goal_path,
    milestone_path,
    moment,
    needed,
    number,
    one_of,
)
from milepost.client.models import (
    FundingSource,
    Goal,
    GoalProgress,
    GoalStatus,
    GoalType,
    Milestone,
    MilestoneProgress,
    Tracking,
)
from milepost.client.records import Exact, Record
from milepost.client.resource import Resource


class LedgerEntry(Record):
    """One change of a goal's amount: `entry` counts up from 1, and `recorded_at` is when Milepost recorded it.

    `before` and `change` are None in the first entry, which opens the ledger. `cause` is created, events, typed (a
    manual amount), linked, allocation, unlinked or status; `account_ids` are those whose events changed the amount.
    """

    _NEEDED = "entry"

    entry: int
    recorded_at: datetime
    before: Exact | None
    after: Exact
    change: Exact | None
    cause: str
    account_ids: list[str]


class Snapshot(Record):
    """A goal's amount at the end of a day of the tenant's time zone."""

    _NEEDED = "day"

    day: date
    amount: Exact


class Goals(Resource):
    """The goals of one tenant.

    Every method raises ValueError for what cannot be (InvalidField, AllocationExceeded, Conflict), KeyError for what
    is not there (NotFound), and Unavailable if Milepost is away. A refused call changes nothing. With an
    `idempotency_key`, the same call made again within 24 hours returns the first answer and changes nothing.
    """

    async def create_goal(
        self,
        user_id: str,
        name: str,
        type: GoalType | str | None = None,
        target_amount: Amount | None = None,
        *,
        goal_type: GoalType | str | None = None,
        current_amount: Amount | None = None,
        deadline: Moment | None = None,
        description: str | None = None,
        status: GoalStatus | str = GoalStatus.ACTIVE,
        currency: str = "USD",
        tracking: Tracking | str | None = None,
        start_date: date | str | None = None,
        auto_complete: bool = False,
        external_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        position: int | None = None,
        image_url: str | None = None,
        milestones: Iterable[arguments.NewMilestone] = (),
        idempotency_key: str | None = None,
    ) -> Goal:
        """Create a goal, active or paused, with up to 100 milestones; `goal_type` is another spelling of `type`.

        Without `current_amount` it starts at 0, a debt at its target. `start_date`, the day of the first snapshot, may
        be in the past. `external_id` (no other goal of the user has the same), `metadata`, `position` and `image_url`
        are the application's own.
        """
        chosen = needed("type", one_of("type", type, "goal_type", goal_type))
        body = {
            "user_id": arguments.text("user_id", user_id),
            "name": arguments.text("name", name),
            "type": arguments.choice("type", GoalType, chosen),
            "target_amount": number("target_amount", needed("target_amount", target_amount)),
            "current_amount": None if current_amount is None else number("current_amount", current_amount),
            "deadline": moment("deadline", deadline),
            "description": arguments.optional_text("description", description),
            "status": arguments.choice("status", GoalStatus, status, offered=(GoalStatus.ACTIVE, GoalStatus.PAUSED)),
            "currency": arguments.text("currency", currency),
            "tracking": None if tracking is None else arguments.choice("tracking", Tracking, tracking),
            "start_date": moment("start_date", start_date),
            "auto_complete": arguments.flag("auto_complete", auto_complete),
            "milestones": arguments.new_milestones(milestones),
            **arguments.details(external_id=external_id, metadata=metadata, position=position, image_url=image_url),
        }
        return Goal.of(await self._change("POST", GOALS, body, idempotency_key))

    async def get_goal(self, goal_id: str) -> Goal:
        """One goal with its milestones."""
        return Goal.of(await self._read(goal_path(goal_id)))

    async def list_goals(
        self,
        user_id: str | None = None,
        type: GoalType | str | None = None,
        status: GoalStatus | str | None = None,
        *,
        goal_type: GoalType | str | None = None,
        external_id: str | None = None,
        include_progress: bool = False,
    ) -> list[Goal]:
        """All goals, or those of a user, a type, a status, an id of your own, in order of creation.

        With `include_progress` each has its `progress`, as get_goal_progress gives it.
        """
        chosen = one_of("type", type, "goal_type", goal_type)
        query = arguments.query(
            user_id=arguments.optional_text("user_id", user_id),
            type=None if chosen is None else arguments.choice("type", GoalType, chosen),
            status=None if status is None else arguments.choice("status", GoalStatus, status),
            external_id=arguments.optional_text("external_id", external_id),
            include="progress" if arguments.flag("include_progress", include_progress) else None,
        )
        return Goal.all_of(await self._list(GOALS, query))

    async def update_goal(
        self, goal_id: str, *, idempotency_key: str | None = None, **changes: Unpack[GoalChanges]
    ) -> Goal:
        """Change the given fields, all of them or none; returns the goal as it is then."""
        path, body = goal_path(goal_id), arguments.changes(changes)
        return Goal.of(await self._change("PATCH", path, body, idempotency_key))

    async def delete_goal(self, goal_id: str, *, idempotency_key: str | None = None) -> None:
        """Delete a goal with its milestones, links and ledger; the shares of its links are free again."""
        await self._change("DELETE", goal_path(goal_id), None, idempotency_key)

    async def reopen_goal(self, goal_id: str, *, idempotency_key: str | None = None) -> Goal:
        """Undo that a goal was completed or abandoned: it is active, and its links go on as if they had never ended."""
        return Goal.of(await self._change("POST", goal_path(goal_id, "reopen"), None, idempotency_key))

    async def get_goal_history(self, goal_id: str, as_known_at: Moment | None = None) -> list[LedgerEntry]:
        """When the amount changed, by how much and why, the newest change first; as it was at `as_known_at`, if given.

        The last entry is the one that opens the ledger.
        """
        query = arguments.query(as_known_at=moment("as_known_at", as_known_at))
        return LedgerEntry.all_of(await self._list(goal_path(goal_id, "history"), query))

    async def get_goal_snapshots(
        self,
        goal_id: str,
        from_: date | str | None = None,
        to: date | str | None = None,
        as_known_at: Moment | None = None,
    ) -> list[Snapshot]:
        """The amount at the end of each day `from_` through `to`, oldest first; as stored at `as_known_at`, if given.

        The days are those of the tenant's time zone, at most ten years of them. Without `to` they end with yesterday,
        without `from_` they begin with the goal's start date, or ten years before the last one.
        """
        query = arguments.query(
            from_=moment("from", from_), to=moment("to", to), as_known_at=moment("as_known_at", as_known_at)
        )
        return Snapshot.all_of(await self._list(goal_path(goal_id, "snapshots"), query))

    async def get_goal_progress(self, goal_id: str) -> GoalProgress:
        """How far a goal is, how fast its amount moves, and when it will be reached if it goes on so."""
        return GoalProgress.of(await self._read(goal_path(goal_id, "progress")))

    async def add_milestone(
        self,
        goal_id: str,
        amount: Amount,
        description: str | None = None,
        target_date: Moment | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Milestone:
        """Add a milestone at an amount; one that the goal has crossed already is reached at once."""
        body = {
            "amount": number("amount", amount),
            "description": arguments.optional_text("description", description),
            "target_date": moment("target_date", target_date),
        }
        path = goal_path(goal_id, "milestones")
        return Milestone.of(await self._change("POST", path, body, idempotency_key))

    async def update_milestone(
        self,
        goal_id: str,
        milestone_id: str,
        *,
        idempotency_key: str | None = None,
        **changes: Unpack[MilestoneChanges],
    ) -> Milestone:
        """Change the given fields; with another amount it is reached if the goal has crossed that amount, else not."""
        path, body = milestone_path(goal_id, milestone_id), arguments.milestone_changes(changes)
        return Milestone.of(await self._change("PATCH", path, body, idempotency_key))

    async def delete_milestone(self, goal_id: str, milestone_id: str, *, idempotency_key: str | None = None) -> None:
        """Delete a milestone, reached or not."""
        await self._change("DELETE", milestone_path(goal_id, milestone_id), None, idempotency_key)

    async def list_milestones(self, goal_id: str) -> list[Milestone]:
        """All milestones of a goal, by amount."""
        return Milestone.all_of(await self._list(goal_path(goal_id, "milestones")))

    async def check_milestones(self, goal_id: str, *, idempotency_key: str | None = None) -> list[Milestone]:
        """The milestones reached since the last check, in the order in which a goal crosses them; each comes once.

        A milestone counts as reached as soon as the amount crosses it, checked or not; this returns the new ones.
        """
        path = goal_path(goal_id, "milestones", "check")
        return Milestone.all_of(await self._change("POST", path, None, idempotency_key))

    async def get_milestone_progress(self, goal_id: str) -> MilestoneProgress:
        """How many milestones are reached, and the next one."""
        path = goal_path(goal_id, "milestones", "progress")
        return MilestoneProgress.of(await self._read(path))

    async def get_next_milestone(self, goal_id: str) -> Milestone | None:
        """The milestone that comes next; None when all are reached, or there is none."""
        body = await self._read(goal_path(goal_id, "milestones", "next"))
        return None if body is None else Milestone.of(body)

    def get_celebration_message(self, milestone: Mapping[str, Any]) -> str:
        """The sentence about a reached milestone; raises ValueError for one that is not reached."""
        return models.get_celebration_message(milestone)

    async def link_account_to_goal(
        self,
        goal_id: str,
        account_id: str,
        account_name: str | None = None,
        allocation_percent: Amount | None = None,
        *,
        from_: Moment | None = None,
        whole: bool = False,
        idempotency_key: str | None = None,
    ) -> FundingSource:
        """Let a share of an account count for a goal, from now on or from `from_` on, which may be in the past.

        An account that is linked already gets the new share. With `whole`, instead of a share, all of the account
        counts, outside the 100%.
        """
        percent = allocation_percent
        body = {
            "account_id": arguments.text("account_id", account_id),
            "account_name": arguments.account_name(account_name),
            "allocation_percent": None if percent is None else number("allocation_percent", percent),
            "from": moment("from", from_),
            "whole": arguments.flag("whole", whole),
        }
        path = goal_path(goal_id, "funding")
        return FundingSource.of(await self._change("POST", path, body, idempotency_key))

    async def get_goal_funding(self, goal_id: str) -> list[FundingSource]:
        """The accounts that count for a goal now, in the order of linking."""
        return FundingSource.all_of(await self._list(goal_path(goal_id, "funding")))

    async def update_account_allocation(
        self,
        goal_id: str,
        account_id: str,
        allocation_percent: Amount | None = None,
        *,
        new_allocation_percent: Amount | None = None,
        correct_from: date | str | None = None,
        idempotency_key: str | None = None,
    ) -> FundingSource:
        """Change the share from now on; what was counted stays. The two names of the share mean the same.

        With `correct_from`, a day, the past is corrected: from then on the account counts with the new share, whatever
        links to this goal it has had since.
        """
        names = "allocation_percent", "new_allocation_percent"
        percent = one_of(names[0], allocation_percent, names[1], new_allocation_percent)
        body = {
            "allocation_percent": number("allocation_percent", needed("allocation_percent", percent)),
            "correct_from": moment("correct_from", correct_from),
        }
        path = account_path(goal_id, account_id)
        return FundingSource.of(await self._change("PATCH", path, body, idempotency_key))

    async def remove_account_from_goal(
        self,
        goal_id: str,
        account_id: str,
        *,
        correct_from: date | str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """End the link of an account; what it counted stays, or with `correct_from` what it counted before that day."""
        query = arguments.query(correct_from=moment("correct_from", correct_from))
        await self._change("DELETE", account_path(goal_id, account_id), None, idempotency_key, query)
