"""A plain, slow oracle: worths and amounts straight from their definitions. It shares no code with core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any


@dataclass
class OracleAccount:
    """The statements that stand, by key, after every event has been heard."""

    transactions: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    reports: dict[datetime, tuple[Any, ...]] = field(default_factory=dict)
    kind: tuple[Any, ...] = (("",), "asset")

    def counted(self) -> list[tuple[datetime, int]]:
        """(posted_at, amount) of the transactions that count."""
        live = {name: body for name, (_, body) in self.transactions.items() if body is not None and not body["pending"]}
        replaced = {body["replaces"] for body in live.values()}
        return [(body["at"], body["amount"]) for name, body in live.items() if name not in replaced]

    def told(self) -> dict[datetime, int]:
        """Worth by report."""
        sign = -1 if self.kind[1] == "liability" else 1
        return {as_of: sign * body["current"] for as_of, (_, body) in self.reports.items()}

    def worth(self, at: datetime, *, before: bool = False) -> int:
        """Worth at a moment, or from the facts strictly before it."""
        moved = self.counted()
        told = self.told()
        past = [as_of for as_of in told if as_of < at or (as_of == at and not before)]
        if past:
            last = max(past)
            return told[last] + sum(a for t, a in moved if last < t and (t < at or (t == at and not before)))
        if told:
            first = min(told)
            return told[first] - sum(a for t, a in moved if (t > at or (t == at and before)) and t <= first)
        return sum(a for t, a in moved if t < at or (t == at and not before))

    def inflow(self, at: datetime, *, before: bool = False) -> int:
        """All money that came in up to a moment."""
        return sum(a for t, a in self.counted() if a > 0 and (t < at or (t == at and not before)))


def hear(account: OracleAccount, event: dict[str, Any]) -> None:
    """Let one event state its fact."""
    rank = (event["time"], event["kind"] == "removed", event["source"], event["id"])
    if event["kind"] in ("recorded", "removed"):
        body = event["body"]
        kept = account.transactions.get(event["key"])
        if kept is None or rank > kept[0]:
            account.transactions[event["key"]] = (rank, body)
    elif event["kind"] == "reported":
        kept = account.reports.get(event["key"])
        if kept is None or rank > kept[0]:
            account.reports[event["key"]] = (rank, event["body"])
    elif account.kind[0] == ("",) or (rank, event["body"]) > account.kind:
        account.kind = (rank, event["body"])


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
    """typed + what the links' worths changed by since the later of their begin and the typing."""
    total = manual
    for link in links:
        begin = link.begin if manual_at is None else max(link.begin, manual_at)
        if link.until is not None and link.until < begin:
            continue
        end = link.account.worth(latest) if link.until is None else link.account.worth(link.until, before=True)
        total += direction * cut_share(end - link.account.worth(begin, before=True), link.ppm)
    return total


def inflow_amount(manual: int, links: Iterable[OracleLink], latest: datetime) -> int:
    """typed + what came in within the links."""
    total = manual
    for link in links:
        end = link.account.inflow(latest) if link.until is None else link.account.inflow(link.until, before=True)
        total += cut_share(end - link.account.inflow(link.begin, before=True), link.ppm)
    return total
