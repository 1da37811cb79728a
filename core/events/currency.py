"""Which currency an account is in: what was stated for it, else what its first report, else its first booked row is in.

Statements about the currency follow each other as those about other attributes do: the latest is valid. Of reports and
rows the first one says it, by the time of its event. So a single row in another currency, which a bank may give for
what was paid abroad, says nothing once anybody else has said it. Pending and removed rows never do.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from core.events.facts import Rank, Report, Transaction


class SaidBy(StrEnum):
    """What kind of fact says the currency, the strongest first."""

    STATEMENT = "statement"
    REPORT = "report"
    TRANSACTION = "transaction"


_STRENGTH = {said_by: number for number, said_by in enumerate(SaidBy)}


class CurrencyFact(NamedTuple):
    """A fact that says an account's currency; the event's time, source and id are None for a statement."""

    said_by: SaidBy
    currency: str
    time: datetime | None = None
    source: str | None = None
    event_id: str | None = None

    @property
    def precedence(self) -> tuple[Any, ...]:
        """Of several facts the least decides; there is at most one statement.

        Events that differ in their currency alone may have one time, source and id: then the currency decides, so that
        the order of arrival never does.
        """
        return (_STRENGTH[self.said_by], *self[2:], self.currency)

    def is_of(self, rank: Rank) -> bool:
        """Whether it is of an event of this rank."""
        return (self.time, self.source, self.event_id) == (rank.time, rank.source, rank.event_id)


def first_fact(reports: Iterable[Report], rows: Iterable[Transaction]) -> CurrencyFact | None:
    """The first of these reports, else of these booked rows; None if there is none."""
    for said_by, facts in ((SaidBy.REPORT, reports), (SaidBy.TRANSACTION, rows)):
        first = min(facts, key=lambda fact: (fact.rank, fact.currency), default=None)
        if first is not None:
            return CurrencyFact(said_by, first.currency, first.rank.time, first.rank.source, first.rank.event_id)
    return None


def deciding(facts: Iterable[CurrencyFact | None]) -> CurrencyFact | None:
    """The one of these facts that decides; None if there is none."""
    return min(filter(None, facts), key=lambda fact: fact.precedence, default=None)
