"""`python -m tests.berka`: every scenario, on all of the data or on its first so many accounts."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.berka.closing import BOTH_AT_EACH
from tests.berka.oracle import FILE
from tests.berka.report import Differs, Report
from tests.berka.scenarios import (
    ROOT,
    Berka,
    balances_and_again,
    killed_in_the_middle,
    killed_while_closing,
    plain_and_again,
    shuffled_into_empty,
)

USUAL_FOLDER = ROOT.parent / "shared" / "data" / "berka"
KILLS = 5


def main() -> int:
    """Run all scenarios; 1 with the first differing rows if a check fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.berka", description="The pipeline on the Berka data.")
    parser.add_argument("folder", type=Path, nargs="?", default=USUAL_FOLDER, help=f"the folder that holds {FILE}")
    parser.add_argument("--accounts", type=int, metavar="N", help="only the first N accounts")
    parser.add_argument("--batch-events", type=int, metavar="N", help="events a transaction (smaller for few accounts)")
    given = parser.parse_args()
    if not (given.folder / FILE).is_file():
        parser.error(f"{given.folder / FILE} is not there")
    settings = {} if given.batch_events is None else {"MILEPOST_BATCH_EVENTS": str(given.batch_events)}
    report = Report()
    with tempfile.TemporaryDirectory(prefix="milepost-berka-") as scratch:
        berka = Berka(given.folder, Path(scratch), given.accounts, report, **settings)
        try:
            _run(berka)
        except Differs as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    report.end("Every check holds:")
    return 0


def _run(berka: Berka) -> None:
    berka.report.title(f"{len(berka.movements):,} transactions of {len(berka.accounts):,} accounts")
    for file in (berka.plain, berka.balances, berka.shuffled):
        lines = file.read_bytes().count(b"\n")
        berka.report.step(f"{lines:,} events made: {file.stem}")
    reached = plain_and_again(berka)
    balances_and_again(berka)
    shuffled_into_empty(berka, reached)
    killed_in_the_middle(berka, reached, KILLS)
    killed_while_closing(berka, reached, BOTH_AT_EACH)


if __name__ == "__main__":
    sys.exit(main())
