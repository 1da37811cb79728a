"""A plain, slow oracle: worths and amounts straight from their definitions. It shares no code with core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.chaos.oracle.placement import Record, place_all


@dataclass
class OracleAccount:
    """The winning statements, by key, after every event was applied."""

    transactions: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    statements: list[Record] = field(default_factory=list)
    reports: dict[tuple[datetime, str], tuple[Any, ...]] = field(default_factory=dict)
    kind: tuple[Any, ...] = (("",), "asset")
    stated_currency: tuple[Any, ...] = (("",), None)
    zone: str = "UTC"
    windows: list[dict[str, Any]] = field(default_factory=list)
    # When the job due ran last.
    due_ran_at: datetime | None = None

    def missing(self) -> set[str]:
        """The transactions that a later pull of all booked rows of their days did not have."""
        return {
            name
            for name, (rank, body) in self.transactions.items()
            if body is not None
            and not body["pending"]
            and any(
                window["source"] == rank[2]
                and window["body"][0] <= body["at"].date() <= window["body"][1]
                and window["time"] > rank[0]
                for window in self.windows
            )
        }

    def currency(self) -> str | None:
        """What is stated, else what the first report says, else what the first booked row says, by event time."""
        if self.stated_currency[1] is not None:
            return str(self.stated_currency[1])
        missing = self.missing()
        booked = [
            (rank, _currency(body))
            for name, (rank, body) in self.transactions.items()
            if body is not None and (not body["pending"] or body.get("waits")) and name not in missing
        ]
        reports = [(rank, currency) for (_, currency), (rank, _) in self.reports.items()]
        return min(reports or booked, default=(None, None))[1]

    def fits(self, currency: str = "USD") -> bool:
        """Whether a goal in this currency counts it."""
        return self.currency() in (None, currency)

    def counted(self) -> list[tuple[datetime, int]]:
        """(posted_at, amount) of the transactions that count."""
        missing = self.missing()
        live = {
            name: body
            for name, (_, body) in self.transactions.items()
            if body is not None and not body["pending"] and name not in missing
        }
        replaced = {body["replaces"] for body in live.values()}
        own = self.currency()
        counting = {name: body for name, body in live.items() if name not in replaced and _currency(body) == own}
        but = {record.name for record in self.statements} - counting.keys()
        places = place_all(self.statements, self.reported(), self.zone, but=but, missing=missing)
        return [(places[name], body["amount"]) for name, body in counting.items()]

    def reported(self) -> dict[datetime, int]:
        """Worth by report; those that wait for their day, or are in another currency, count nothing."""
        sign, own = -1 if self.kind[1] == "liability" else 1, self.currency()
        return {
            as_of: sign * body["current"]
            for (as_of, currency), (_, body) in self.reports.items()
            if currency == own and not body.get("waits")
        }

    def known_at(self) -> list[datetime]:
        """Its reports, and seven days after its first booked row, if the job due ran then."""
        first = min((record.time for record in self.statements if record.is_booked), default=None)
        if first is None or self.due_ran_at is None or self.due_ran_at < first + timedelta(days=7):
            return list(self.reported())
        return [*self.reported(), first + timedelta(days=7)]

    def worth(self, at: datetime, *, before: bool = False) -> int:
        """Worth at a moment, or from the facts strictly before it."""
        moved = self.counted()
        reported = self.reported()
        past = [as_of for as_of in reported if as_of < at or (as_of == at and not before)]
        if past:
            last = max(past)
            return reported[last] + sum(a for t, a in moved if last < t and (t < at or (t == at and not before)))
        if reported:
            first = min(reported)
            return reported[first] - sum(a for t, a in moved if (t > at or (t == at and before)) and t <= first)
        return sum(a for t, a in moved if t < at or (t == at and not before))

    def inflow(self, at: datetime, *, before: bool = False) -> int:
        """All money that came in up to a moment."""
        return sum(a for t, a in self.counted() if a > 0 and (t < at or (t == at and not before)))


def apply_fact(account: OracleAccount, event: dict[str, Any]) -> None:
    """Add the fact of one event; of two about one key the later one wins."""
    rank = (event["time"], event["kind"] == "removed", event["source"], event["id"])
    if event["kind"] in ("recorded", "removed"):
        body = event["body"]
        kept = account.transactions.get(event["key"])
        if kept is None or rank > kept[0]:
            account.transactions[event["key"]] = (rank, body)
        account.statements.append(_record(event))
    elif event["kind"] == "reported":
        key = event["key"], _currency(event["body"])
        kept = account.reports.get(key)
        if kept is None or rank > kept[0]:
            account.reports[key] = (rank, event["body"])
    elif event["kind"] == "currency":
        if account.stated_currency[0] == ("",) or rank > account.stated_currency[0]:
            account.stated_currency = (rank, event["body"])
    elif event["kind"] == "window":
        account.windows.append(event)
    elif account.kind[0] == ("",) or (rank, event["body"]) > account.kind:
        account.kind = (rank, event["body"])


def _currency(body: dict[str, Any]) -> str:
    return str(body.get("currency", "USD"))


def _record(event: dict[str, Any]) -> Record:
    """The statement as the oracle of places takes it. A row that waits for its day is booked, though it is pending."""
    body, record = event["body"], Record(event["key"], event["time"], f"{event['source']}\x1f{event['id']}")
    if body is None:
        return record
    is_pending = body["pending"] and not body.get("waits", False)
    record = record._replace(amount=body["amount"], is_pending=is_pending)
    day = body["at"].date() if body.get("is_date") else body.get("day")
    return record._replace(instant=body["at"]) if day is None else record._replace(day=day)


def cut_share(amount: int, ppm: int) -> int:
    """A share, cut towards zero, by exact fractions."""
    return int(Fraction(amount * ppm, 1_000_000))


@dataclass
class OracleLink:
    """A period in which a share of an account counts."""

    account: OracleAccount
    ppm: int
    begin: datetime
    until: datetime | None = None


def change_amount(
    manual: int, manual_at: datetime | None, links: Iterable[OracleLink], latest: datetime, direction: int = 1
) -> int:
    """The manual amount + by how much the links' worths moved since it was set, or since a later begin."""
    total = manual
    for link in links:
        if not link.account.fits():
            continue
        begin = link.begin if manual_at is None else max(link.begin, manual_at)
        if link.until is not None and link.until < begin:
            continue
        end = link.account.worth(latest) if link.until is None else link.account.worth(link.until, before=True)
        total += direction * cut_share(end - link.account.worth(begin, before=True), link.ppm)
    return total


def inflow_amount(manual: int, links: Iterable[OracleLink], latest: datetime) -> int:
    """The manual amount + what came in during the links."""
    total = manual
    for link in links:
        if not link.account.fits():
            continue
        end = link.account.inflow(latest) if link.until is None else link.account.inflow(link.until, before=True)
        total += cut_share(end - link.account.inflow(link.begin, before=True), link.ppm)
    return total
