"""What is written down of a person before their life begins: accounts, goals, and the rules that move money."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from core.events.facts import AccountKind
from core.goals.goal import GoalType, Tracking
from core.goals.lifecycle import GoalStatus
from milepost.demo.rules import Rule


class Told(Enum):
    """How often the balance of an account is reported."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An account and the worth that it begins with, in minor units."""

    account_id: str
    name: str
    currency: str
    worth_minor: int
    told: Told = Told.DAILY
    kind: AccountKind = AccountKind.ASSET


@dataclass(frozen=True, slots=True)
class MilestonePlan:
    """An amount on the way, in units of the currency, wanted so many days after the beginning."""

    amount: str
    description: str
    in_days: int


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A share of an account for a goal, or all of it outside of the 100%."""

    account_id: str
    percent: int = 100
    whole: bool = False


@dataclass(frozen=True, slots=True)
class GoalPlan:
    """A goal as its owner would make it; amounts in units of the currency, the deadline in days after the beginning."""

    name: str
    type: GoalType
    currency: str
    target: str
    links: tuple[LinkPlan, ...] = ()
    current: str | None = None
    tracking: Tracking | None = None
    milestones: tuple[MilestonePlan, ...] = ()
    deadline_in_days: int | None = None
    description: str | None = None
    status: GoalStatus = GoalStatus.ACTIVE
    auto_complete: bool = False
    ends_as: GoalStatus | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One person."""

    user_id: str
    accounts: tuple[AccountPlan, ...]
    goals: tuple[GoalPlan, ...]
    rules: tuple[Rule, ...]
