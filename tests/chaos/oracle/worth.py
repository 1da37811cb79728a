"""Measures: the worth of an account just before a moment, and the money that came into it until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.oracle.facts import Account


@dataclass(slots=True)
class Measures:
    """The measures of one account, after all events were applied."""

    account: Account
    _counted: list[tuple[datetime, int]] = field(init=False)
    _reported: dict[datetime, int] = field(init=False)
    _known: dict[tuple[bool, datetime], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._counted = counted(self.account)
        self._reported = self.account.reported()

    @property
    def known_at(self) -> datetime:
        """When its balance became known."""
        return self.account.known_at()

    def worth_before(self, at: datetime) -> int:
        """The last report before `at`, plus what was posted between them.

        Before all reports: the first report, minus what was posted from `at` to it.
        """
        if (True, at) not in self._known:
            self._known[True, at] = self._worth_before(at)
        return self._known[True, at]

    def inflow_before(self, at: datetime) -> int:
        """All money that came in before `at`; reports do not count."""
        if (False, at) not in self._known:
            self._known[False, at] = sum(amount for when, amount in self._counted if amount > 0 and when < at)
        return self._known[False, at]

    def _worth_before(self, at: datetime) -> int:
        earlier = [as_of for as_of in self._reported if as_of < at]
        if earlier:
            last = max(earlier)
            return self._reported[last] + sum(amount for when, amount in self._counted if last < when < at)
        if self._reported:
            first = min(self._reported)
            return self._reported[first] - sum(amount for when, amount in self._counted if at <= when <= first)
        return sum(amount for when, amount in self._counted if when < at)


def counted(account: Account) -> list[tuple[datetime, int]]:
    """(time, amount) of each transaction that counts."""
    places = account.places()
    return [(places[name], each.amount_minor) for name, each in account.counting().items()]
