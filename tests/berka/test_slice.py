"""The Berka scenarios on a slice: a few accounts, and small batches, so that there are many of them.

Shuffled events go into an empty database where those that close days are killed; `make berka` does it in peace too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.berka.__main__ import USUAL_FOLDER
from tests.berka.closing import ONE_AT_EACH
from tests.berka.oracle import FILE
from tests.berka.report import Report
from tests.berka.scenarios import (
    Berka,
    State,
    balances_and_again,
    killed_in_the_middle,
    killed_while_closing,
    plain_and_again,
)

ACCOUNTS = 25
KILLS = 1

pytestmark = pytest.mark.skipif(
    not (USUAL_FOLDER / FILE).is_file(), reason="the Berka data is not beside this repository (../shared/data/berka)"
)


@pytest.fixture(scope="module")
def berka(scratch: Path) -> Berka:
    """The slice, with its systems where the run's other servers are."""
    folder = scratch / "berka"
    folder.mkdir(mode=0o700)
    return Berka(USUAL_FOLDER, folder, ACCOUNTS, Report(), MILEPOST_BATCH_EVENTS="50")


@pytest.fixture(scope="module")
def plain(berka: Berka) -> State:
    """What the plain run reached, all its checks passed."""
    return plain_and_again(berka)


def test_replaying_in_the_order_of_the_source_again_and_shuffled(plain: State) -> None:
    """Worths, goals and their closes are exactly the formula's, and a second replay, also shuffled, changes no row."""
    assert len(plain.amounts) == 2 * ACCOUNTS


def test_replaying_with_balances(berka: Berka) -> None:
    """With a report for each account and day worths, goals and closes are the reports', and again changes no row."""
    balances_and_again(berka)


def test_killing_the_drain_worker_in_the_middle(berka: Berka, plain: State) -> None:
    """kill -9 of the drain worker during the replay leaves what a quiet replay does."""
    killed_in_the_middle(berka, plain, KILLS)


def test_killing_what_closes_days(berka: Berka, plain: State) -> None:
    """kill -9 of the jobs worker and of `milepost run snapshot`, between shuffled events, leaves the same closes."""
    killed_while_closing(berka, plain, ONE_AT_EACH)
