"""The oracle of accounts that are joined or were opened on a day, straight from the definitions. No code of core."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tests.ingestion.oracle import OracleAccount

LAST = datetime.max.replace(tzinfo=UTC)
Rank = tuple[Any, ...]
Limit = datetime | None


@dataclass
class Household:
    """Accounts by number, and the standing statements about them, each with its rank; ask only after all are made.

    `replaced`: (rank, number of the new account or None, moment or None); `opened`: (rank, moment or None); the moments
    are the first instants of the stated days. `users`: (rank, user).
    """

    accounts: list[OracleAccount]
    replaced: dict[int, tuple[Rank, int | None, Limit]] = field(default_factory=dict)
    opened: dict[int, tuple[Rank, Limit]] = field(default_factory=dict)
    users: dict[int, tuple[Rank, str]] = field(default_factory=dict)

    @cached_property
    def joins(self) -> dict[int, int]:
        """By old account the new one; of statements in a circle the one with the greatest rank does not count."""
        joined = {old: new for old, (_, new, _) in self.replaced.items() if new is not None and self._fit(old, new)}
        for start in list(joined):
            circle, at = [start], joined.get(start)
            while at is not None and at not in circle:
                circle.append(at)
                at = joined.get(at)
            if at == start:
                del joined[max(circle, key=lambda number: self.replaced[number][0])]
        return joined

    @cached_property
    def groups(self) -> list[frozenset[int]]:
        """For each account those that are one with it."""
        return [self._group(number) for number in range(len(self.accounts))]

    @cached_property
    def spans(self) -> list[tuple[Limit, Limit]]:
        """From when to when each account counts."""
        return [self._span(number) for number in range(len(self.accounts))]

    def counts(self, number: int, at: datetime, *, before: bool) -> bool:
        """Whether an account counts at a moment, or just before it."""
        begin, end = self.spans[number]
        if before:
            return (begin is None or begin < at) and (end is None or at <= end)
        return (begin is None or begin <= at) and (end is None or at < end)

    def _fit(self, old: int, new: int) -> bool:
        users = {self.users[number][1] for number in (old, new) if number in self.users}
        own, other = self.accounts[old], self.accounts[new]
        is_like = own.currency() is not None and own.currency() == other.currency() and own.kind[1] == other.kind[1]
        return is_like and len(users) < 2

    def _group(self, number: int) -> frozenset[int]:
        found = {number}
        for _ in self.joins:
            found |= {n for pair in self.joins.items() if found.intersection(pair) for n in pair}
        return frozenset(found)

    def _span(self, number: int) -> tuple[Limit, Limit]:
        begins = [self._join_at(old, new) for old, new in self.joins.items() if new == number]
        begin = min(begins) if begins else None
        opened = self.opened[number][1] if number in self.opened else None
        if opened is not None:
            begin = opened if begin is None else max(begin, opened)
        ends, old = [], number
        while old in self.joins:
            ends.append(self._join_at(old, self.joins[old]))
            old = self.joins[old]
        return begin, min(ends) if ends else None

    def _join_at(self, old: int, new: int) -> datetime:
        stated = self.replaced[old][2]
        return stated if stated is not None else min(self.accounts[new].reported(), default=LAST)


@dataclass
class Joined:
    """What a link to one of the accounts measures; it takes the place of an OracleAccount."""

    household: Household
    number: int

    @property
    def members(self) -> list[tuple[int, OracleAccount]]:
        """The accounts that are one with this one."""
        return [(number, self.household.accounts[number]) for number in sorted(self.household.groups[self.number])]

    def fits(self) -> bool:
        """Whether a goal in dollars counts it."""
        return self.household.accounts[self.number].fits()

    def known_at(self) -> list[datetime]:
        """When each balance became known."""
        return [at for _, each in self.members for at in each.known_at()]

    def worth(self, at: datetime, *, before: bool = False) -> int:
        """The worths of the accounts that count at the moment."""
        own = [each for number, each in self.members if self.household.counts(number, at, before=before)]
        return sum(each.worth(at, before=before) for each in own)

    def inflow(self, at: datetime, *, before: bool = False) -> int:
        """What came in to each in its own time."""
        return sum(
            amount
            for number, each in self.members
            for posted_at, amount in each.counted()
            if amount > 0
            and (posted_at < at or (posted_at == at and not before))
            and self.household.counts(number, posted_at, before=False)
        )
