"""Checks of the rows that a benchmark has written: worths, amounts, reached milestones, and no dead letters.

Shares no code with core: shares are computed here again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Engine, text

from core.errors import MilepostError

PPM = {"balance": 600_000, "change": 400_000}
_SHOWN = 5

_WORTHS = text("SELECT account_id, worth_minor FROM accounts")
_GOALS = text(
    """SELECT g.goal_id, g.tracking, g.amount_minor, g.waiting_for, l.account_id
    FROM goals g JOIN links l USING (tenant, goal_id)"""
)
_UNMARKED = text(
    """SELECT m.goal_id, m.amount_minor FROM milestones m JOIN goals g USING (tenant, goal_id)
    WHERE g.amount_minor >= m.amount_minor AND m.reached_at IS NULL"""
)
_COUNTS = {
    "transactions": text("SELECT count(*) FROM transactions"),
    "dead letters": text("SELECT count(*) FROM dead_letters"),
    "messages beyond the marks": text(
        """SELECT (SELECT count(*) FROM outbox WHERE type = 'milestone.reached')
            - (SELECT count(*) FROM milestones WHERE reached_at IS NOT NULL)"""
    ),
}


class WrongResult(MilepostError):
    """The result does not fit the events."""

    def __init__(self, workload: str, faults: list[str]) -> None:
        shown = "; ".join(faults[:_SHOWN])
        super().__init__(f"the result of {workload} is wrong in {len(faults)} places: {shown}")
        self.faults = faults


def check_result(engine: Engine, workload: str, sums: Mapping[str, int], events: int, accounts: int) -> None:
    """Compare every account and goal with the sums of the events; raises WrongResult.

    An account opened at 0.00 is worth the sum of its transactions, and the amount of its goal is a share of that.
    """
    with engine.connect() as connection:
        faults = [
            *_wrong_counts(connection, events, accounts),
            *_wrong_worths(connection, sums),
            *_wrong_goals(connection, sums),
            *(
                f"goal {row[0]} is past {row[1]}, which is not marked as reached"
                for row in connection.execute(_UNMARKED)
            ),
        ]
    if faults:
        raise WrongResult(workload, faults)


def check_baseline(engine: Engine, workload: str, sums: Mapping[str, int], events: int, entries: int | None) -> None:
    """Compare what the baseline wrote with the same sums, and its ledger with the pipeline's number of entries.

    `entries` is None if only the transactions were written. Raises WrongResult.
    """
    with engine.connect() as connection:
        faults = list(_wrong_number(connection, "transactions", events))
        if entries is not None:
            faults += _wrong_number(connection, "goal_entries", entries)
            faults += _wrong_worths(connection, sums)
            faults += _wrong_goals(connection, sums)
    if faults:
        raise WrongResult(workload, faults)


def check_live(engine: Engine, workload: str, sums: Mapping[str, int], events: int) -> None:
    """Compare the rows of a whole running Milepost with the sums of the events; raises WrongResult."""
    with engine.connect() as connection:
        faults = [
            *_wrong_number(connection, "transactions", events),
            *_wrong_number(connection, "dead_letters", 0),
            *_wrong_worths(connection, sums),
            *_wrong_goals(connection, sums),
        ]
    if faults:
        raise WrongResult(workload, faults)


def count_entries(engine: Engine) -> int:
    """The number of ledger entries of all goals."""
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM goal_entries")))


def _wrong_number(connection: Connection, table: str, number: int) -> Iterator[str]:
    found = connection.scalar(text(f"SELECT count(*) FROM {table}"))
    if found != number:
        yield f"there are {found} {table}, not {number}"


def _wrong_counts(connection: Connection, events: int, accounts: int) -> Iterator[str]:
    wanted = {"transactions": events, "dead letters": 0, "messages beyond the marks": 0}
    for name, statement in _COUNTS.items():
        found = connection.scalar(statement)
        if found != wanted[name]:
            yield f"there are {found} {name}, not {wanted[name]}"
    for table, number in (("accounts", accounts), ("goals", 2 * accounts)):
        yield from _wrong_number(connection, table, number)


def _wrong_worths(connection: Connection, sums: Mapping[str, int]) -> Iterator[str]:
    for account_id, worth in connection.execute(_WORTHS):
        if worth != sums.get(account_id, 0):
            yield f"{account_id} is worth {worth}, not {sums.get(account_id, 0)}"


def _wrong_goals(connection: Connection, sums: Mapping[str, int]) -> Iterator[str]:
    for goal_id, tracking, amount, waiting_for, account_id in connection.execute(_GOALS):
        wanted = cut_share(sums.get(account_id, 0), PPM[tracking])
        if amount != wanted or waiting_for:
            yield f"goal {goal_id} of {account_id} has {amount}, not {wanted}"


def cut_share(minor: int, ppm: int) -> int:
    """A share of an amount, rounded towards zero."""
    return minor * ppm // 1_000_000 if minor >= 0 else -(-minor * ppm // 1_000_000)
