"""Goals: their amounts now and at the end of each local day, from manual amounts, links and accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction

from tests.chaos.oracle.facts import FOR_EVER, Account, TenantFacts
from tests.chaos.oracle.joins import JoinedMeasures, Joins
from tests.chaos.oracle.placement import first_instant
from tests.chaos.oracle.worth import Measures


@dataclass(frozen=True, slots=True)
class Link:
    """A period in which a share of an account counts for a goal; without an end it still does."""

    account_id: str
    ppm: int
    from_at: datetime
    until_at: datetime | None


@dataclass(slots=True)
class Goal:
    """The input for a goal's amounts. `manual` is in order of time; the amount set at creation has no time."""

    goal_id: str
    type: str
    tracking: str
    currency: str
    user_id: str
    target_minor: int
    start_date: date
    manual: list[tuple[datetime | None, int]]
    links: list[Link] = field(default_factory=list)
    milestones: list[int] = field(default_factory=list)
    final_at: datetime | None = None

    @property
    def direction(self) -> int:
        """-1 if money that comes in lowers the amount, else 1."""
        return -1 if self.type == "debt" else 1


class Oracle:
    """Computes the goals of one tenant, after all events were applied."""

    def __init__(self, facts: TenantFacts) -> None:
        self.facts = facts
        self.measures: dict[str, Measures] = {name: Measures(account) for name, account in facts.accounts.items()}
        self.joins = Joins(facts)
        self._joined: dict[str, JoinedMeasures] = {}

    def amount(self, goal: Goal) -> int:
        """The amount from all facts."""
        return self.amount_before(goal, FOR_EVER)

    def closes(self, goal: Goal, last: date) -> dict[date, int]:
        """The amount at the end of every local day from the goal's start to `last`."""
        days = range((last - goal.start_date).days + 1)
        return {day: self.close(goal, day) for day in (goal.start_date + timedelta(days=n) for n in days)}

    def close(self, goal: Goal, day: date) -> int:
        """The amount at the end of one local day."""
        return self.amount_before(goal, first_instant(day + timedelta(days=1), self.facts.zone))

    def amount_before(self, goal: Goal, at: datetime) -> int:
        """The amount from facts dated before `at`, and not after the goal's final moment."""
        end = at if goal.final_at is None else min(at, goal.final_at)
        manual_at, manual = next(t for t in reversed(goal.manual) if t[0] is None or t[0] < at)
        if goal.tracking in {"balance", "net_worth"}:
            present = self._present(goal, end)
            if not any(measures.known_at < (goal.final_at or FOR_EVER) for measures, _ in present):
                return manual
            return goal.direction * sum(cut(measures.worth_before(end), ppm) for measures, ppm in present)
        return manual + goal.direction * sum(self._since(goal, link, manual_at, end) for link in goal.links)

    def waits_for(self, goal: Goal) -> list[str]:
        """The accounts whose balance is not known yet, of a goal that follows balances."""
        if goal.tracking == "net_worth":
            names = set(self._members(goal))
        elif goal.tracking == "balance":
            names = {link.account_id for link in goal.links if link.until_at is None and self._counts(goal, link)}
        else:
            names = set()
        return sorted(name for name in names if self._measures(name).known_at == FOR_EVER)

    def must_be_reached(self, goal: Goal, closes: Mapping[date, int]) -> Iterator[int]:
        """Yield the milestones that the goal has reached, now or at the end of some day."""
        for milestone in goal.milestones:
            amounts = [self.amount(goal), *closes.values()]
            if any(goal.direction * amount >= goal.direction * milestone for amount in amounts):
                yield milestone

    def _present(self, goal: Goal, end: datetime) -> list[tuple[JoinedMeasures, int]]:
        """The measures and shares of the accounts that a goal which follows balances has at a moment."""
        if goal.tracking == "net_worth":
            return [(self._measures(name), 1_000_000) for name in self._members(goal)]
        return [
            (self._measures(link.account_id), link.ppm)
            for link in goal.links
            if self._counts(goal, link) and link.from_at < end and (link.until_at is None or end <= link.until_at)
        ]

    def _since(self, goal: Goal, link: Link, manual_at: datetime | None, end: datetime) -> int:
        """The share of the change of an account's measure within a link, since the last manual amount."""
        begin = link.from_at if manual_at is None else max(link.from_at, manual_at)
        until = end if link.until_at is None else min(link.until_at, end)
        if not self._counts(goal, link) or until <= begin:
            return 0
        measures = self._measures(link.account_id)
        measure = measures.inflow_before if goal.tracking == "inflow" else measures.worth_before
        return cut(measure(until) - measure(begin), link.ppm)

    def _counts(self, goal: Goal, link: Link) -> bool:
        """Whether the account fits: not another currency; for a debt that follows balances not a known asset."""
        account = self._account(link.account_id)
        if account.currency not in (None, goal.currency):
            return False
        is_known_asset = "kind" in account.attributes and not account.is_liability
        return not (goal.type == "debt" and goal.tracking == "balance" and is_known_asset)

    def _members(self, goal: Goal) -> list[str]:
        """All of the user's accounts in the goal's currency; of those that are joined the first."""
        own = [
            name
            for name, account in sorted(self.facts.accounts.items())
            if account.user_id == goal.user_id and account.currency == goal.currency
        ]
        return [name for name in own if name == min(set(self.joins.group(name)).intersection(own))]

    def _account(self, name: str) -> Account:
        return self.facts.accounts.get(name, Account())

    def _measures(self, name: str) -> JoinedMeasures:
        if name not in self._joined:
            names = self.joins.group(name)
            parts = [(self.measures.setdefault(n, Measures(self._account(n))), *self.joins.span(n)) for n in names]
            self._joined[name] = JoinedMeasures(parts)
        return self._joined[name]


def cut(amount_minor: int, ppm: int) -> int:
    """A share, rounded towards zero: 60% of -25 is -15, of -26 it is -15 too."""
    return int(Fraction(amount_minor * ppm, 1_000_000))
