"""The Berka scenarios on a slice: a few accounts, and small batches, so that there are many of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.berka.__main__ import USUAL_FOLDER
from tests.berka.oracle import FILE
from tests.berka.report import Report
from tests.berka.scenarios import (
    Berka,
    State,
    balances_and_again,
    killed_in_the_middle,
    plain_and_again,
    shuffled_into_empty,
)

ACCOUNTS = 25
KILLS = 3

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
    """Worths and goals are exactly the formula's, and a second replay, also shuffled, changes no row."""
    assert len(plain.amounts) == 2 * ACCOUNTS


def test_replaying_with_balances(berka: Berka) -> None:
    """With a report for each account and day worths and goals are exactly the formula's, and again changes no row."""
    balances_and_again(berka)


def test_replaying_shuffled_into_an_empty_database(berka: Berka, plain: State) -> None:
    """Shuffled events leave the facts, worths and amounts that ordered ones do."""
    shuffled_into_empty(berka, plain)


def test_killing_the_drain_worker_in_the_middle(berka: Berka, plain: State) -> None:
    """kill -9 of the drain worker during the replay, three times, leaves what a quiet replay does."""
    killed_in_the_middle(berka, plain, KILLS)
