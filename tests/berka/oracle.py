"""What the Berka data should come to, from the definitions alone, in hellers; no code of core or the example."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

FILE = "trans_1993_1994.csv.gz"
LINKED_FROM = "930101"
# Share of an account by the tracking of the goal that it funds, in percent.
SHARES = {"balance": 60, "change": 40}


@dataclass(frozen=True, slots=True)
class Movement:
    """One row of the source. `day` is its YYMMDD; `amount` has a sign; both amounts are hellers."""

    name: str
    account: str
    day: str
    amount: int
    balance: int


def read_movements(folder: Path, accounts: int | None = None) -> list[Movement]:
    """All rows, or those of the first so many accounts to appear."""
    chosen: set[str] = set()
    movements = []
    with gzip.open(folder / FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            account = row["account_id"]
            if account not in chosen and accounts is not None and len(chosen) == accounts:
                continue
            chosen.add(account)
            amount = hellers(row["amount"])
            signed = amount if row["type"] == "PRIJEM" else -amount
            movements.append(Movement(row["trans_id"], account, row["date"], signed, hellers(row["balance"])))
    return movements


def hellers(text: str) -> int:
    """An amount with two decimals, such as -12.30, without going through a float."""
    whole, point, rest = text.partition(".")
    if point != "." or len(rest) != 2:
        raise ValueError(f"{text} does not have two decimals")
    return int(whole + rest)


def worths_by_sum(movements: list[Movement]) -> dict[str, int]:
    """Each account's worth where the transactions alone tell."""
    worths: dict[str, int] = defaultdict(int)
    for movement in movements:
        worths[movement.account] += movement.amount
    return dict(worths)


def worths_by_reports(movements: list[Movement]) -> dict[str, int]:
    """Each account's worth where reports tell as well: the last report, and the transactions of later days."""
    by_account: dict[str, list[Movement]] = defaultdict(list)
    for movement in movements:
        by_account[movement.account].append(movement)
    worths = {}
    for account, own in by_account.items():
        reports = {day: report_of_day(own, day) for day in {movement.day for movement in own}}
        last = max(reports)
        worths[account] = reports[last] + sum(movement.amount for movement in own if movement.day > last)
    return worths


def report_of_day(own: list[Movement], day: str) -> int:
    """Of the balances stated on a day the one nearest to the sum up to its end; the first of two as near."""
    total = sum(movement.amount for movement in own if movement.day <= day)
    return min((movement.balance for movement in own if movement.day == day), key=lambda balance: abs(balance - total))


def goal_amounts(worths: dict[str, int], movements: list[Movement]) -> dict[tuple[str, str], int]:
    """(account, tracking) -> amount of each goal. What `change` counts from is 0: no account moved before its link."""
    if any(movement.day < LINKED_FROM for movement in movements):
        raise ValueError(f"a transaction is dated before {LINKED_FROM}")
    return {
        (account, tracking): share(worth, percent)
        for account, worth in worths.items()
        for tracking, percent in SHARES.items()
    }


def share(amount: int, percent: int) -> int:
    """A share, cut towards zero."""
    cut = abs(amount) * percent // 100
    return cut if amount >= 0 else -cut
