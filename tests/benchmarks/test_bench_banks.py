"""The simulation of banks: its pulls say what the bank has, and our rules are wrong far less than a simpler one."""

from __future__ import annotations

from random import Random
from zoneinfo import ZoneInfo

import pytest

from benchmarks.banks.__main__ import as_plain, as_table, faults
from benchmarks.banks.account import Account
from benchmarks.banks.bank import bank_of
from benchmarks.banks.ledger import DAYS, moments, movements, start_of
from benchmarks.banks.measure import Measured, measure
from benchmarks.banks.mixes import MIXES, Figures, Mix
from benchmarks.banks.pulls import deliveries
from core.events.facts import Transaction
from tests.chaos.oracle.placement import Record, place_all

SEED, ACCOUNTS = 1, 10
BY_NAME = {mix.name: mix for mix in MIXES}


@pytest.fixture(scope="module")
def measured() -> list[Measured]:
    return [measure(mix, ACCOUNTS, SEED, lambda _: None) for mix in MIXES]


def test_no_clean_bank_has_a_wrong_amount(measured: list[Measured]) -> None:
    """Where a bank lists what it books at once, the balances decide all: nothing is wrong."""
    of_clean = measured[[each.mix.name for each in measured].index("clean")]
    assert of_clean.ours == (0, 0, 0)


def test_the_first_instant_of_the_day_is_wrong_far_more_often(measured: list[Measured]) -> None:
    """Over all mixes, of goals that link today and 30 days back, and of closes."""
    for figure, times in (("linked_today", 4), ("linked_back", 4), ("closes", 2)):
        ours = sum(getattr(each.ours, figure) for each in measured)
        assert sum(getattr(each.first_instant, figure) for each in measured) >= times * ours


def test_each_figure_is_shown(measured: list[Measured]) -> None:
    """The table and the JSON have a line for each mix."""
    assert as_table(measured).row_count == len(MIXES)
    assert [each["mix"] for each in map(as_plain, measured)] == list(BY_NAME)


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_what_is_expected_passes_and_what_is_beyond_it_does_not(mix: Mix) -> None:
    """Three points above the expected figure are allowed; of the rule beside ours a third may be missing."""
    close = Figures(*(None if figure is None else figure + 3 for figure in mix.expected))
    assert not list(faults(Measured(mix, 350, close, mix.expected_first_instant)))
    worse = close._replace(linked_today=close.linked_today + 0.1)
    assert len(list(faults(Measured(mix, 350, worse, mix.expected_first_instant)))) == 1
    kind = mix.expected_first_instant._replace(linked_back=mix.expected_first_instant.linked_back / 2)
    assert len(list(faults(Measured(mix, 350, close, kind)))) == 1


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_pull_by_pull_the_rows_that_the_bank_shows_are_placed_as_all_facts_at_once(mix: Mix) -> None:
    """Each counts once, whatever way an account is pulled: with late first rows, gaps, windows, cursors and new ids."""
    for number in range(4):
        dice = Random(f"{mix.name} {number}")
        user = moments(dice)
        bank = bank_of(dice, mix, movements(dice, user))
        account = Account(ZoneInfo("UTC"))
        arriving = deliveries(dice, mix, bank, user.connected)
        for delivery in arriving:
            account.apply(delivery.statements, delivery.reports)
        last = max(delivery.arrived_at for delivery in arriving if not delivery.reports)
        counted = sorted(row.transaction.amount_minor for row in account.rows.values() if row.counts)
        assert counted == sorted(booking.booked.amount_minor for booking in bank.rows_shown(last))
        assert len(account.balances) == sum(len(delivery.reports) for delivery in arriving)
        assert last > start_of(DAYS - 2)
        records = [record(statement) for delivery in arriving for statement in delivery.statements]
        reports = {as_of: worth for delivery in arriving for as_of, worth in delivery.reports.items()}
        assert account.places == place_all(records, reports, "UTC")


def record(statement: Transaction) -> Record:
    """The statement as the oracle reads it."""
    name, rank = statement.transaction_id, statement.rank
    return Record(name, rank.time, rank.event_id, statement.amount_minor, statement.dated, statement.posted_at)
