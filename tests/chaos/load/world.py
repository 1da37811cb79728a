"""The world of a run: tenants, accounts and goals, all from the seed. Both tenants use the same ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

# The days of the second tenant begin and end half a day away from those of the first.
ZONES = {"default": "UTC", "auckland": "Pacific/Auckland"}
SHARDS = 2
USERS = tuple(f"user-{n}" for n in range(6))
DAYS_BACK = 20
_ACCOUNTS, _PULLED_ACCOUNTS = 24, 6
_MILLION = 1_000_000
# Each kind of goal: type, tracking, how many of them, how many accounts fund one.
_GOALS = (
    ("savings", "change", 3, 2),
    ("custom", "change", 2, 3),
    ("income", "inflow", 2, 2),
    ("investment", "balance", 2, 2),
    ("debt", "change", 1, 1),
    ("debt", "balance", 1, 2),
    ("net_worth", "net_worth", 2, 0),
)


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An account: its id, user and currency, and whether it is a liability when the run begins.

    Facts about one that `is_pulled` come from its bank alone (banks.py), those about all others from everywhere.
    """

    account_id: str
    user_id: str
    currency: str
    is_liability: bool
    is_pulled: bool = False


@dataclass(frozen=True, slots=True)
class GoalPlan:
    """A goal as it is created: amounts in minor units, shares in parts per million, days counted back from today."""

    name: str
    user_id: str
    type: str
    tracking: str
    currency: str
    target_minor: int
    current_minor: int | None
    started_days_ago: int
    milestones: tuple[int, ...]
    shares: tuple[tuple[str, int, int | None], ...]

    @property
    def finish_minor(self) -> int:
        """The amount at which the goal is reached: a debt created with only its total is paid down to zero."""
        return 0 if self.type == "debt" and self.current_minor is None else self.target_minor


@dataclass(frozen=True, slots=True)
class World:
    """The accounts and goals that each tenant has with one seed."""

    accounts: Sequence[AccountPlan]
    goals: Sequence[GoalPlan]

    @classmethod
    def of(cls, seed: int) -> World:
        """The world of a seed."""
        chance = Random(f"{seed}:world")
        accounts = [_account(chance, number) for number in range(_ACCOUNTS)]
        accounts += [_pulled_account(chance, number) for number in range(_PULLED_ACCOUNTS)]
        kinds = [(type, tracking, funded) for type, tracking, count, funded in _GOALS for _ in range(count)]
        return cls(accounts, [goal_plan(chance, accounts, n, *kind) for n, kind in enumerate(kinds)])


def _account(chance: Random, number: int) -> AccountPlan:
    # One account is in yen (no decimals), one in dinars (three decimals); about a third are liabilities.
    currency = {7: "JPY", 11: "KWD"}.get(number, "USD")
    return AccountPlan(f"account-{number:02}", USERS[number % len(USERS)], currency, chance.random() < 0.3)


def _pulled_account(chance: Random, number: int) -> AccountPlan:
    return AccountPlan(f"pulled-{number:02}", USERS[number % len(USERS)], "USD", chance.random() < 0.3, is_pulled=True)


def goal_plan(
    chance: Random, accounts: Sequence[AccountPlan], number: int, type: str, tracking: str, funded: int
) -> GoalPlan:
    """A goal of a kind; most are in dollars, as most accounts are."""
    is_followed_debt = type == "debt" and tracking == "balance"
    currency = chance.choice(["USD"] * 8 + ["JPY", "KWD"]) if tracking == "change" else "USD"
    fit = [a for a in accounts if a.currency == currency and (a.is_liability or not is_followed_debt)]
    chosen = chance.sample(fit, min(funded, len(fit)))
    target, current = _span(chance, type, is_followed_debt)
    return GoalPlan(
        name=f"goal {number}",
        user_id=chance.choice(USERS),
        type=type,
        tracking=tracking,
        currency=currency,
        target_minor=target,
        current_minor=current,
        started_days_ago=chance.randrange(2, DAYS_BACK),
        milestones=_milestones(chance, type, target, current),
        shares=_shares(chance, chosen),
    )


def _span(chance: Random, type: str, is_followed_debt: bool) -> tuple[int, int | None]:
    """(target, current amount): a debt, in one of its two forms, is paid down; all others grow.

    A debt that follows balances is given its amount: the start of another one depends on requests, not on facts alone.
    """
    if type == "debt":
        owed, is_total = chance.randrange(500_000, 900_000), chance.random() < 0.5
        return (owed, None) if is_total and not is_followed_debt else (chance.randrange(100_000), owed)
    return chance.randrange(50_000, 2_000_000), chance.choice([None, 0, chance.randrange(50_000)])


def _milestones(chance: Random, type: str, target: int, current: int | None) -> tuple[int, ...]:
    if type != "debt":
        return tuple(sorted({target * part // 100 for part in chance.sample(range(1, 100), 3)}))
    start, finish = (target, 0) if current is None else (current, target)
    return tuple(sorted({finish + (start - finish) * part // 100 for part in chance.sample(range(1, 100), 3)}))


def _shares(chance: Random, accounts: Sequence[AccountPlan]) -> tuple[tuple[str, int, int | None], ...]:
    """(account, share, since how many days; None: since it is linked) of each; the shares sum to at most 100%."""
    left, shares = _MILLION, []
    for account in accounts:
        ppm = chance.randrange(50_000, max(50_001, left // 2 + 50_000))
        left -= ppm
        shares.append((account.account_id, ppm, chance.choice([None, chance.randrange(1, DAYS_BACK)])))
    return tuple(shares)
