"""examples/berka.py: what becomes of the rows of the source."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "berka.py"

HEADER = '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"'
ROWS = [
    '11;7;930105;"PRIJEM";"VKLAD";1000.00;1000.00;"";;',
    '12;9;930105;"PRIJEM";"PREVOD Z UCTU";500.50;500.50;"DUCHOD";;',
    # Of one day, in an order that is not that of the balances.
    '13;7;930301;"VYBER";"VYBER";300.10;650.00;" ";;',
    '14;7;930301;"VYDAJ";"VYBER";50.00;950.00;"SLUZBY";;',
    '15;9;930302;"PRIJEM";"";2.30;502.80;"UROK";;',
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a source of five rows."""
    text = "\n".join([HEADER, *ROWS]) + "\n"
    (tmp_path / "trans_1993_1994.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def events(folder: Path, *options: str) -> list[dict[str, Any]]:
    """The events that the program prints, amounts as they are written."""
    command = [sys.executable, str(PROGRAM), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line, parse_float=str) for line in done.stdout.splitlines()]


def of(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The data of the events of one kind."""
    return [event["data"] for event in found if event["type"] == f"milepost.{kind}"]


def test_every_event_is_an_envelope_that_stays_the_same(folder: Path) -> None:
    """Each event has its own id, one source and the time of its day, the same each time the program runs."""
    found = events(folder, "--balances")
    assert len({event["id"] for event in found}) == len(found)
    assert {(event["specversion"], event["source"]) for event in found} == {("1.0", "berka")}
    assert {event["time"] for event in found if event["data"].get("posted_at") == "1993-03-01"} == {
        "1993-03-01T12:00:00Z"
    }
    assert events(folder, "--balances") == found


def test_transactions_keep_order_ids_digits_and_sign(folder: Path) -> None:
    """Transactions come in the source's order with its ids; money in is positive, both kinds of money out negative."""
    found = events(folder)
    made = of("transaction.recorded", found)
    assert [(row["transaction_id"], row["account_id"], row["amount"], row["posted_at"]) for row in made] == [
        ("11", "7", "1000.00", "1993-01-05"),
        ("12", "9", "500.50", "1993-01-05"),
        ("13", "7", "-300.10", "1993-03-01"),
        ("14", "7", "-50.00", "1993-03-01"),
        ("15", "9", "2.30", "1993-03-02"),
    ]
    assert {(row["currency"], row["pending"]) for row in made} == {("CZK", False)}
    assert [row["category"] for row in made] == [None, "DUCHOD", None, "SLUZBY", "UROK"]


def test_each_account_opens_with_nothing_just_before_its_first_transaction(folder: Path) -> None:
    """A report of 0.00 at the end of the day before stands right in front of an account's first transaction."""
    found = [event["data"] for event in events(folder)]
    assert [row.get("transaction_id", row.get("as_of")) for row in found] == [
        "1993-01-04",
        "11",
        "1993-01-04",
        "12",
        "13",
        "14",
        "15",
    ]
    assert [(row["account_id"], row["current"], row["currency"], row["kind"]) for row in found if "current" in row] == [
        ("7", "0.00", "CZK", "asset"),
        ("9", "0.00", "CZK", "asset"),
    ]


def test_balances_close_each_day_with_the_one_nearest_to_the_sum(folder: Path) -> None:
    """Each account and day ends with one report, after the day's transactions; 650.00 is nearer to 649.90 than 950."""
    found = events(folder, "--balances")
    assert [(row["account_id"], row["as_of"], row["current"]) for row in of("balance.reported", found)] == [
        ("7", "1993-01-04", "0.00"),
        ("9", "1993-01-04", "0.00"),
        ("7", "1993-01-05", "1000.00"),
        ("9", "1993-01-05", "500.50"),
        ("7", "1993-03-01", "650.00"),
        ("9", "1993-03-02", "502.80"),
    ]
    names = [event["id"] for event in found]
    assert names.index("14") < names.index("balance-7-1993-03-01") < names.index("15")


def test_a_slice_is_what_the_whole_says_of_its_accounts(folder: Path) -> None:
    """--accounts 1 gives the events of the first account to appear, as they stand among all."""
    whole = events(folder, "--balances")
    assert events(folder, "--balances", "--accounts", "1") == [
        event for event in whole if event["data"]["account_id"] == "7"
    ]
