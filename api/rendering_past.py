"""How the past of a goal goes out: the lines of its ledger, and its closes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.rendering import Amount, Day, Moment, day, moment
from core.goals.money import to_decimal
from core.requests.read_snapshots import CloseView
from core.store.ledger import Entry


class EntryBody(TypedDict):
    """One change of a goal's amount."""

    entry: Annotated[int, Field(description="1 is the oldest; no number is left out")]
    recorded_at: Moment
    before: Annotated[Amount | None, Field(description="null in the first entry, which opens the ledger")]
    after: Amount
    change: Annotated[Amount | None, Field(description="after - before")]
    cause: str
    account_ids: list[str]


class CloseBody(TypedDict):
    """A goal's amount at the end of a local day, as known now or at the moment asked for."""

    day: Day
    amount: Amount


def entry_body(entry: Entry, currency: str) -> EntryBody:
    """A line of a goal's ledger, in the goal's currency."""
    before = entry.before_minor
    return {
        "entry": entry.entry,
        "recorded_at": moment(entry.recorded_at),
        "before": None if before is None else to_decimal(before, currency),
        "after": to_decimal(entry.after_minor, currency),
        "change": None if before is None else to_decimal(entry.after_minor - before, currency),
        "cause": entry.cause,
        "account_ids": list(entry.account_ids),
    }


def close_body(close: CloseView, currency: str) -> CloseBody:
    """The close of a day, in the goal's currency."""
    return {"day": day(close.day), "amount": to_decimal(close.amount_minor, currency)}
