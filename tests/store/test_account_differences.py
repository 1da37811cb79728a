"""Which accounts have a lasting difference, by SQL and by a plain reading of its definition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.store.account_views import count_with_difference, with_difference
from core.store.database import Sessions
from core.store.driver import Session, Sql

_ADD_ACCOUNT = Sql(
    """INSERT INTO accounts (tenant, account_id, currency, currency_from)
    VALUES (:tenant, :account_id, 'USD', 'report')"""
)
_ADD_REPORT = Sql(
    """INSERT INTO reports (tenant, account_id, as_of, current_minor, currency, residual_minor, event_time, source,
        event_id)
    VALUES (:tenant, :account_id, timestamptz '2026-01-01' + :number * interval '1 day', 0, :currency, :difference,
        now(), 's', 'e')"""
)


def add(session: Session, tenant: str, account_id: str, differences: Sequence[int]) -> None:
    """Add an account whose first report is followed by reports with these differences."""
    _ADD_ACCOUNT.run(session, {"tenant": tenant, "account_id": account_id})
    own = {"tenant": tenant, "account_id": account_id, "currency": "USD"}
    _ADD_REPORT.run_all(
        session, [own | {"number": number, "difference": each} for number, each in enumerate((0, *differences))]
    )


def lasts(differences: Sequence[int]) -> bool:
    """Whether any difference lasts, by the definition: nothing near it is its opposite or sums to 0 with it."""
    levels = (0, *differences)
    for at, difference in enumerate(levels):
        first, last = max(0, at - 3), at + 3
        if difference == 0 or last >= len(levels):
            continue
        runs = [levels[begin : end + 1] for begin in range(first, at + 1) for end in range(at, last + 1)]
        if -difference not in levels[first : last + 1] and not any(sum(run) == 0 for run in runs):
            return True
    return False


CASES = {
    "none": ([0, 0, 0, 0], False),
    "one that stays": ([5, 0, 0, 0], True),
    "one that is too young": ([0, 5, 0, 0], False),
    "taken back by the next": ([5, -5, 0, 0, 0], False),
    "taken back by the third": ([5, 0, 0, -5, 0, 0, 0], False),
    "taken back by the fourth": ([5, 0, 0, 0, -5, 0, 0, 0], True),
    "taken back in parts": ([5, -2, -3, 0, 0, 0], False),
    "taken back in part": ([5, -2, 0, 0, 0], True),
    "taken back at last, and another stays": ([5, 7, -5, 0, 0, 0], True),
    "two that are taken back one in the other": ([5, 7, -5, -7, 0, 0, 0], False),
    "two that are taken back one in the other, each by the third after it": ([5, 7, 0, -5, -7, 0, 0, 0], False),
    "taken back before, by a balance that was behind": ([-5, 5, 0, 0, 0], False),
    "a kind of balance by turns": ([5, -5] * 6, False),
    "one in each": ([1] * 8, True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_lasts_and_what_is_taken_back(session_factory: Sessions, name: str) -> None:
    """A difference lasts unless one of three reports around it, or a run of them, brings the sum back."""
    differences, expected = CASES[name]
    assert lasts(differences) is expected
    with session_factory.begin() as session:
        add(session, "default", "a", differences)
        assert with_difference(session, "default", ["a", "never"]) == ({"a"} if expected else set())


@given(st.lists(st.lists(st.integers(-2, 2) | st.just(0), max_size=12), min_size=1, max_size=12))
def test_it_is_the_definition_for_any_differences(session_factory: Sessions, accounts: list[list[int]]) -> None:
    """For any accounts side by side the statement finds those that the definition finds."""
    with session_factory() as session:
        for number, differences in enumerate(accounts):
            add(session, "default", f"a{number}", differences)
        expected = {f"a{number}" for number, differences in enumerate(accounts) if lasts(differences)}
        assert with_difference(session, "default", [f"a{number}" for number in range(len(accounts))]) == expected
        session.rollback()


def test_only_the_accounts_that_are_asked_for_are_found(session_factory: Sessions) -> None:
    """Neither another account, nor one of the same id of another tenant."""
    with session_factory.begin() as session:
        for tenant, account_id, differences in (
            ("default", "a", [5, 0, 0, 0]),
            ("default", "b", [5, 0, 0, 0]),
            ("other", "c", [5, 0, 0, 0]),
            ("default", "c", [0, 0, 0, 0]),
        ):
            add(session, tenant, account_id, differences)
        assert with_difference(session, "default", ["b", "c"]) == {"b"}


def test_all_of_a_tenant_are_counted(session_factory: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many accounts are read at once."""
    monkeypatch.setattr("core.store.account_views.ACCOUNTS_AT_ONCE", 2)
    with session_factory.begin() as session:
        for number in range(5):
            add(session, "default", f"a{number}", [5, 0, 0, 0] if number % 2 == 0 else [])
        assert count_with_difference(session, "default") == 3
        assert count_with_difference(session, "other") == 0
