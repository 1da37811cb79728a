"""Leaving out the duplicate check changes no result; it is left out only where no duplicates are likely."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from core.ingestion.apply import apply_decoded, zones_of
from core.ingestion.decode import StreamEntry, decode_batch
from core.ingestion.facts import DuplicateCheck
from core.store.database import Sessions
from core.store.driver import Sql
from tests import acts
from tests.budget import examples

START = datetime(2026, 3, 1, tzinfo=UTC)
_names = itertools.count(1)

# (which transaction, its amount, when it was stated): the same one again and again, changed or not.
statements = st.tuples(st.integers(0, 5), st.integers(-500_00, 500_00), st.integers(0, 3))
batches = st.lists(st.lists(statements, min_size=1, max_size=4, unique_by=lambda one: one[0]), min_size=1, max_size=6)


def apply_with(sessions: Sessions, bodies: list[bytes], now: datetime, duplicate_check: DuplicateCheck) -> None:
    """Apply one batch as a drain whose earlier batches have left the duplicate check in this state."""
    entries = [StreamEntry(0, f"{n}-0", now, "default", body) for n, body in enumerate(bodies)]
    with sessions.begin() as session:
        apply_decoded(session, decode_batch(entries, zones_of(session, entries)), now, duplicate_check)


def stats(sessions: Sessions, account: str, goal_id: str) -> list[tuple[object, ...]]:
    """The account, its transactions and its goal, without their names."""
    with sessions() as session:
        return Sql("""SELECT 'account', '', worth_minor, inflow_minor, last_transaction_at FROM accounts
                WHERE account_id = :a
                UNION ALL SELECT 'transaction', split_part(transaction_id, '/', 2), amount_minor, 0, event_time
                FROM transactions WHERE account_id = :a
                UNION ALL SELECT 'goal', '', amount_minor, entries, reached_at FROM goals WHERE goal_id = :g
                ORDER BY 1, 2""").rows(session, {"a": account, "g": goal_id})


@settings(max_examples=examples(30))
@given(batches)
def test_without_the_check_a_batch_has_the_same_result(
    session_factory: Sessions, stated: list[list[tuple[int, int, int]]]
) -> None:
    """Whether a batch checks for duplicates first or finds them while it writes, the stored facts are the same."""
    results = []
    for new_check in (DuplicateCheck, DuplicateCheck.left_out):
        account = f"n{next(_names)}"
        goal_id = acts.goal(session_factory, START, currency="USD", target_amount="300")
        acts.link(session_factory, START, goal_id, account, "100")
        now = START + timedelta(days=2)
        for batch in stated:
            now += timedelta(seconds=1)
            bodies = [
                acts.paid(f"{account}/{which}", minor, START + timedelta(hours=1 + hours), account)
                for which, minor, hours in batch
            ]
            apply_with(session_factory, bodies, now, new_check())
        results.append(stats(session_factory, account, goal_id))
    assert results[0] == results[1]


def test_the_check_is_left_out_after_batches_without_duplicates(session_factory: Sessions, now: datetime) -> None:
    """It is left out after eight batches without duplicates; a batch with one makes it needed again."""
    duplicate_check = DuplicateCheck()
    for number in range(8):
        assert duplicate_check.is_needed
        apply_with(session_factory, [acts.paid(f"p{number}", 100, now)], now, duplicate_check)
    assert not duplicate_check.is_needed
    apply_with(session_factory, [acts.paid("p8", 100, now), acts.paid("p3", 100, now)], now, duplicate_check)
    assert duplicate_check.is_needed
    with session_factory() as session:
        assert Sql("SELECT worth_minor FROM accounts WHERE account_id = 'a'").value(session, {}) == 900
