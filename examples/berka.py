"""Turn the Berka data set (real Czech bank accounts, 1993-1994) into NDJSON events for `milepost replay`.

    python examples/berka.py FOLDER [--balances] [--accounts N] > events.ndjson

FOLDER contains trans_1993_1994.csv.gz. Events come in the source's order, with its ids and signs. Each account opens
with a report of 0.00 just before the day of its first transaction. With --balances, each account and day ends with a
report: the order of rows within a day is not known, so it uses that one of the day's balances that is nearest to the
sum of the transactions so far.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

FILE = "trans_1993_1994.csv.gz"
SOURCE = "berka"
CURRENCY = "CZK"
SIGNS = {"PRIJEM": 1, "VYDAJ": -1, "VYBER": -1}


class Row(NamedTuple):
    """One row of the source, its amount signed: positive raises the account's worth."""

    transaction_id: str
    account_id: str
    day: date
    amount: Decimal
    balance: Decimal
    category: str | None


def read_rows(folder: Path) -> Iterator[Row]:
    """The rows in the source's order."""
    with gzip.open(folder / FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            yield Row(
                row["trans_id"],
                row["account_id"],
                datetime.strptime(f"19{row['date']}", "%Y%m%d").date(),  # noqa: DTZ007  # a date has no zone
                SIGNS[row["type"]] * Decimal(row["amount"]),
                Decimal(row["balance"]),
                row["k_symbol"].strip() or None,
            )


def events(rows: Iterable[Row], *, with_balances: bool = False) -> Iterator[dict[str, Any]]:
    """The events of rows in order of their days."""
    sums: dict[str, Decimal] = {}
    stated: dict[str, list[Decimal]] = {}
    day: date | None = None
    for row in rows:
        if row.day != day:
            if with_balances and day is not None:
                yield from _closing_reports(stated, sums, day)
            stated.clear()
            day = row.day
        if row.account_id not in sums:
            sums[row.account_id] = Decimal(0)
            yield opening_report(row)
        sums[row.account_id] += row.amount
        yield transaction(row)
        stated.setdefault(row.account_id, []).append(row.balance)
    if with_balances and day is not None:
        yield from _closing_reports(stated, sums, day)


def opening_report(row: Row) -> dict[str, Any]:
    """A balance of 0.00 at the last instant of the day before an account's first transaction."""
    before = (row.day - timedelta(days=1)).isoformat()
    return report(row.account_id, Decimal("0.00"), before)


def report(account_id: str, current: Decimal, as_of: str) -> dict[str, Any]:
    """An event that reports a balance at the end of a day."""
    data = {"account_id": account_id, "kind": "asset", "current": current, "currency": CURRENCY, "as_of": as_of}
    return envelope("milepost.balance.reported", f"balance-{account_id}-{as_of}", as_of, data)


def transaction(row: Row) -> dict[str, Any]:
    """An event that records a posted transaction."""
    data = {
        "account_id": row.account_id,
        "transaction_id": row.transaction_id,
        "amount": row.amount,
        "currency": CURRENCY,
        "posted_at": row.day.isoformat(),
        "pending": False,
        "category": row.category,
    }
    return envelope("milepost.transaction.recorded", row.transaction_id, row.day.isoformat(), data)


def envelope(type: str, id: str, day: str, data: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvents 1.0 envelope. The source knows only the day, so all events of a day have the same time."""
    time = f"{day}T12:00:00Z"
    return {"specversion": "1.0", "id": id, "source": SOURCE, "type": type, "time": time, "data": data}


def line(event: dict[str, Any]) -> str:
    """An event as one line of NDJSON; an amount keeps its digits, since it goes out as a decimal string."""
    return json.dumps(event, default=str, separators=(",", ":"))


def _closing_reports(stated: dict[str, list[Decimal]], sums: dict[str, Decimal], day: date) -> Iterator[dict[str, Any]]:
    for account_id, balances in stated.items():
        nearest = min(balances, key=lambda balance: abs(balance - sums[account_id]))
        yield report(account_id, nearest, day.isoformat())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Berka's transactions as NDJSON events on standard output.")
    parser.add_argument("folder", type=Path, help=f"the folder with {FILE}")
    parser.add_argument("--balances", action="store_true", help="add a report for each account and day")
    parser.add_argument("--accounts", type=int, metavar="N", help="only the first N accounts")
    arguments = parser.parse_args()
    rows: Iterable[Row] = read_rows(arguments.folder)
    if arguments.accounts is not None:
        rows = list(rows)
        first = set(list(dict.fromkeys(row.account_id for row in rows))[: arguments.accounts])
        rows = (row for row in rows if row.account_id in first)
    for event in events(rows, with_balances=arguments.balances):
        sys.stdout.write(line(event) + "\n")


if __name__ == "__main__":
    main()
