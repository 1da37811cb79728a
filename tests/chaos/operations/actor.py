"""The actor of a tenant: creates its goals, then links, sets amounts, pauses and abandons as the seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event as Flag
from typing import Any
from urllib.parse import quote

from tests.chaos.load.events import money
from tests.chaos.load.world import GoalPlan, World, goal_plan
from tests.chaos.operations.log import WHOLE_PPM, GoalLog, Operation
from tests.chaos.operations.requests import Requests

_PAUSE_S = (0.3, 1.5)
_NEW_KINDS = (("savings", "change", 2), ("income", "inflow", 1), ("investment", "balance", 2), ("debt", "change", 1))


@dataclass(slots=True)
class Actor:
    """Sends the requests of one tenant, one after the other; `wrong` lists answers that were not expected."""

    tenant: str
    seed: int
    world: World
    requests: Requests
    is_over: Flag
    goals: list[GoalLog] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _chance: Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = Random(f"{self.seed}:actor:{self.tenant}")

    def create_goals(self) -> None:
        """Create the goals of the world, with their links and milestones."""
        for plan in self.world.goals:
            self._create(plan)

    def step(self) -> None:
        """Send one request after a pause."""
        if not self.is_over.wait(self._chance.uniform(*_PAUSE_S)):
            self._request()

    def _request(self) -> None:
        chance, kind = self._chance, self._chance.random()
        if kind < 0.08:
            number = len(self.goals)
            self._create(goal_plan(chance, self.world.accounts, number, *chance.choice(_NEW_KINDS)))
            return
        goal = chance.choice([each for each in self.goals if not each.is_over])
        if goal.plan.tracking == "net_worth" or kind < 0.16:
            self._pause_or_resume(goal)
        elif kind < 0.45:
            self._link(goal)
        elif kind < 0.65 and goal.shares:
            self._allocate(goal, chance.choice(sorted(goal.shares)))
        elif kind < 0.8 and goal.shares:
            self._unlink(goal, chance.choice(sorted(goal.shares)))
        elif kind < 0.97:
            self._set_amount(goal)
        elif goal.plan.tracking != "balance":
            self._abandon(goal)

    def _create(self, plan: GoalPlan) -> None:
        started = datetime.now(UTC).date() - timedelta(days=plan.started_days_ago)
        body = {
            "user_id": plan.user_id,
            "name": plan.name,
            "type": plan.type,
            "tracking": plan.tracking,
            "currency": plan.currency,
            "target_amount": money(plan.target_minor, plan.currency),
            "start_date": started.isoformat(),
        }
        if plan.current_minor is not None:
            body["current_amount"] = money(plan.current_minor, plan.currency)
        status, made, began, ended = self.requests.send("POST", "/goals", body)
        self._expect(status, [201], f"creating {plan.name}", made)
        goal = GoalLog(self.tenant, plan, made["id"], [Operation("create", began, ended, since=started)])
        self.goals.append(goal)
        for milestone in plan.milestones:
            wanted = {"amount": money(milestone, plan.currency)}
            status, answer, *_ = self.requests.send("POST", f"/goals/{goal.goal_id}/milestones", wanted)
            self._expect(status, [201], f"a milestone of {plan.name}", answer)
        for account_id, ppm, days_ago in plan.shares:
            self._send_link(goal, account_id, ppm, days_ago)

    def _link(self, goal: GoalLog) -> None:
        """Link an account that is not linked now; the link of one that never was may begin in the past."""
        fit = self._fit(goal)
        left = WHOLE_PPM - sum(goal.shares.values())
        if not fit or left < 1_000:
            return
        account_id = self._chance.choice(fit)
        is_new = all(operation.account_id != account_id for operation in goal.operations)
        days_ago = self._chance.randrange(1, 15) if is_new and self._chance.random() < 0.6 else None
        self._send_link(goal, account_id, self._chance.randrange(1, left + 1), days_ago)

    def _send_link(self, goal: GoalLog, account_id: str, ppm: int, days_ago: int | None) -> None:
        since = None if days_ago is None else datetime.now(UTC).date() - timedelta(days=days_ago)
        body: dict[str, Any] = {"account_id": account_id, "allocation_percent": _percent(ppm)}
        if since is not None:
            body["from"] = since.isoformat()
        status, answer, began, ended = self.requests.send("POST", f"/goals/{goal.goal_id}/funding", body)
        # 422: the account, by what is known of it by now, does not fit the goal.
        self._expect(status, [201, 422], f"linking {account_id} to {goal.plan.name}", answer)
        if status == 201:
            goal.operations.append(Operation("link", began, ended, account_id, ppm, since))

    def _allocate(self, goal: GoalLog, account_id: str) -> None:
        """Change a share; sometimes to one that exceeds 100% in total, which must be refused."""
        left = WHOLE_PPM - sum(ppm for name, ppm in goal.shares.items() if name != account_id)
        is_too_much = left < WHOLE_PPM and self._chance.random() < 0.2
        ppm = left + 1 if is_too_much else self._chance.randrange(1, left + 1)
        path = f"/goals/{goal.goal_id}/funding/{quote(account_id)}"
        status, answer, began, ended = self.requests.send("PATCH", path, {"allocation_percent": _percent(ppm)})
        self._expect(status, [400] if is_too_much else [200], f"a share of {account_id} in {goal.plan.name}", answer)
        if status == 200:
            goal.operations.append(Operation("allocate", began, ended, account_id, ppm))

    def _unlink(self, goal: GoalLog, account_id: str) -> None:
        path = f"/goals/{goal.goal_id}/funding/{quote(account_id)}"
        status, answer, began, ended = self.requests.send("DELETE", path)
        self._expect(status, [204], f"unlinking {account_id} from {goal.plan.name}", answer)
        goal.operations.append(Operation("unlink", began, ended, account_id))

    def _set_amount(self, goal: GoalLog) -> None:
        """Set an amount manually; 409 if the goal follows accounts that have reported a balance."""
        amount = self._chance.randrange(1, 800_000)
        body = {"current_amount": money(amount, goal.plan.currency)}
        status, answer, began, ended = self.requests.send("PATCH", f"/goals/{goal.goal_id}", body)
        fit = [200, 409] if goal.plan.tracking == "balance" else [200]
        self._expect(status, fit, f"an amount of {goal.plan.name}", answer)
        if status == 200:
            goal.operations.append(Operation("type", began, ended, amount_minor=amount))

    def _pause_or_resume(self, goal: GoalLog) -> None:
        """Pause the goal, or resume it."""
        verb, wanted = ("resume", "active") if goal.is_paused else ("pause", "paused")
        self._change_status(goal, verb, wanted)

    def _abandon(self, goal: GoalLog) -> None:
        self._change_status(goal, "abandon", "abandoned")

    def _change_status(self, goal: GoalLog, verb: str, wanted: str) -> None:
        status, answer, began, ended = self.requests.send("PATCH", f"/goals/{goal.goal_id}", {"status": wanted})
        self._expect(status, [200], f"{verb} {goal.plan.name}", answer)
        goal.operations.append(Operation(verb, began, ended))

    def _fit(self, goal: GoalLog) -> list[str]:
        """The accounts in the goal's currency that are not linked; of a debt that follows balances only liabilities."""
        is_followed_debt = goal.plan.type == "debt" and goal.plan.tracking == "balance"
        return [
            each.account_id
            for each in self.world.accounts
            if each.currency == goal.plan.currency
            and each.account_id not in goal.shares
            and (each.is_liability or not is_followed_debt)
        ]

    def _expect(self, status: int, fit: Sequence[int], what: str, answer: Any) -> None:
        if status not in fit:
            self.wrong.append(f"{self.tenant}: {what} was answered {status}, not {fit}: {answer}")


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04}"
