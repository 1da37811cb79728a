"""Joined accounts: which statements `replaced_by` join, and from when to when each account counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from tests.chaos.oracle.facts import FOR_EVER, Statement, TenantFacts
from tests.chaos.oracle.placement import first_instant
from tests.chaos.oracle.worth import Measures, counted

Limit = datetime | None


@dataclass(slots=True)
class Joins:
    """The joins of one tenant, after all events were applied."""

    facts: TenantFacts
    new: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.new = {old: new for old in self.facts.accounts if (new := self._fitting(old)) is not None}
        for start in sorted(self.new):
            circle = [start]
            while (following := self.new.get(circle[-1])) is not None and following not in circle:
                circle.append(following)
            if following == start:
                del self.new[max(circle, key=lambda name: (self._stated(name).rank, name))]

    def group(self, name: str) -> list[str]:
        """The accounts that are one with this one, in order of their ids."""
        found = {name}
        for _ in self.new:
            found |= {each for pair in self.new.items() if found.intersection(pair) for each in pair}
        return sorted(found)

    def span(self, name: str) -> tuple[Limit, Limit]:
        """From when on and before when an account counts; None: no limit."""
        begins = [self._moment(old) for old, new in self.new.items() if new == name]
        begins = [min(begins)] if begins else []
        account = self.facts.accounts.get(name)
        opened = None if account is None else account.attributes.get("opened")
        if opened is not None and opened.value is not None:
            begins.append(first_instant(date.fromisoformat(opened.value), self.facts.zone))
        ends = []
        while name in self.new:
            ends.append(self._moment(name))
            name = self.new[name]
        return max(begins, default=None), min(ends, default=None)

    def _fitting(self, old_id: str) -> str | None:
        """The account that replaces another one, if they are of one kind and currency, and not of two users."""
        accounts, stated = self.facts.accounts, self.facts.accounts[old_id].attributes.get("replaced_by")
        if stated is None or stated.value is None or stated.value not in accounts:
            return None
        old, new = accounts[old_id], accounts[stated.value]
        users = {each.user_id for each in (old, new)} - {None}
        fits = old.currency is not None and old.currency == new.currency and old.is_liability == new.is_liability
        return stated.value if fits and len(users) < 2 else None

    def _stated(self, name: str) -> Statement:
        return self.facts.accounts[name].attributes["replaced_by"]

    def _moment(self, old_id: str) -> datetime:
        stated = self.facts.accounts[old_id].attributes["replaced_from"].value
        if stated is not None:
            return first_instant(date.fromisoformat(stated), self.facts.zone)
        return min(self.facts.accounts[self.new[old_id]].reported(), default=FOR_EVER)


@dataclass(slots=True)
class JoinedMeasures:
    """The measures of all accounts that are joined with one, of each in the time in which it counts."""

    parts: list[tuple[Measures, Limit, Limit]]

    @property
    def known_at(self) -> datetime:
        """When a balance of any of them became known."""
        return min(measures.known_at for measures, _, _ in self.parts)

    def worth_before(self, at: datetime) -> int:
        """The worths of those that count just before a moment."""
        return sum(
            measures.worth_before(at)
            for measures, begin, end in self.parts
            if (begin is None or begin < at) and (end is None or at <= end)
        )

    def inflow_before(self, at: datetime) -> int:
        """All money that came in before a moment, to each in its time."""
        return sum(
            amount
            for measures, begin, end in self.parts
            for when, amount in counted(measures.account)
            if amount > 0 and when < at and (begin is None or begin <= when) and (end is None or when < end)
        )
