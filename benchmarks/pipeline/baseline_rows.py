"""The rows that a drain has written for a shard, in its batches, read back so that the baseline can write them again.

Shares no code with core's folding: amounts are summed and shares computed here again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from benchmarks.check import PPM, cut_share
from core.store import driver
from core.stream.stream import shard_of

Row = tuple[object, ...]

TRANSACTION = {
    "tenant": "text",
    "account_id": "text",
    "transaction_id": "text",
    "amount_minor": "int8",
    "currency": "text",
    "posted_at": "timestamptz",
    "pending": "bool",
    "removed": "bool",
    "counts": "bool",
    "replaces": "text",
    "category": "text",
    "description": "text",
    "event_time": "timestamptz",
    "source": "text",
    "event_id": "text",
}
ENTRY = {
    "tenant": "text",
    "goal_id": "text",
    "entry": "int8",
    "recorded_at": "timestamptz",
    "before_minor": "int8",
    "after_minor": "int8",
    "cause": "text",
    # As `bulk.texts` encodes them.
    "account_ids": "bytea",
}
ACCOUNT = {
    "tenant": "text",
    "account_id": "text",
    "worth_minor": "int8",
    "inflow_minor": "int8",
    "last_transaction_at": "timestamptz",
    "dirty_from": "date",
    "late_from": "date",
    "late_through": "date",
}
GOAL = {
    "tenant": "text",
    "goal_id": "text",
    "amount_minor": "int8",
    "next_milestone_minor": "int8",
    "reached_at": "timestamptz",
    "entries": "int8",
    "version": "int8",
    "updated_at": "timestamptz",
}

_GOALS = """SELECT g.tenant, g.goal_id, g.tracking, g.next_milestone_minor, g.reached_at, l.account_id,
        g.entries - written.lines AS entries, g.version - written.lines AS version
    FROM goals g JOIN links l USING (tenant, goal_id) JOIN (
        SELECT tenant, goal_id, count(*) FILTER (WHERE cause = 'events') AS lines FROM goal_entries GROUP BY 1, 2
    ) AS written USING (tenant, goal_id)"""


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows of one shard of `shards`, in batches of `batch_events`."""

    number: int
    shards: int
    batch_events: int


@dataclass(frozen=True, slots=True)
class BaselineBatch:
    """All rows of one batch, each kind in the order of its key."""

    transactions: list[Row]
    entries: list[Row]
    accounts: list[Row]
    goals: list[Row]


@dataclass(slots=True)
class _Goal:
    key: tuple[str, str]
    ppm: int
    amount_minor: int
    entries: int
    version: int
    next_milestone_minor: int | None
    reached_at: datetime | None


def read_batches(drained_url: str, shard: Shard) -> list[BaselineBatch]:
    """The batches of one shard, from a database into which a drain has applied all events."""
    with psycopg.connect(driver_url(drained_url), options="-c timezone=UTC", row_factory=dict_row) as connection:
        world = _World(
            {row["account_id"]: row for row in connection.execute(_select("accounts", ACCOUNT, "account_id"))},
            _goals_at_the_start(connection),
        )
        events = connection.execute(_select("transactions", TRANSACTION, "transaction_id"))
        own = (row for row in events if shard_of(row["tenant"], row["account_id"], shard.shards) == shard.number)
        return [world.batch(rows) for rows in _by_number(own, shard.batch_events)]


def driver_url(url: str) -> str:
    """The address in the form that psycopg itself accepts."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _select(table: str, columns: Iterable[str], order: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("SELECT {} FROM {} ORDER BY {}").format(names, sql.Identifier(table), sql.Identifier(order))


def _goals_at_the_start(connection: psycopg.Connection[dict[str, Any]]) -> dict[str, list[_Goal]]:
    """The goals of each account as they were before the first event, except which milestones they have reached."""
    goals: dict[str, list[_Goal]] = {}
    for row in connection.execute(_GOALS):
        goal = _Goal(
            (row["tenant"], row["goal_id"]),
            PPM[row["tracking"]],
            0,
            row["entries"],
            row["version"],
            row["next_milestone_minor"],
            row["reached_at"],
        )
        goals.setdefault(row["account_id"], []).append(goal)
    return goals


def _by_number(rows: Iterable[dict[str, Any]], number: int) -> Iterator[list[dict[str, Any]]]:
    """Yield lists of `number` rows; the last one may be shorter."""
    left = iter(rows)
    while some := list(islice(left, number)):
        yield some


class _World:
    """The accounts and goals, to which one batch after the other is applied."""

    def __init__(self, accounts: Mapping[str, dict[str, Any]], goals: Mapping[str, list[_Goal]]) -> None:
        self._accounts, self._goals = accounts, goals
        self._worths: dict[str, int] = {}
        self._inflows: dict[str, int] = {}
        self._lasts: dict[str, datetime] = {}
        self._now = datetime.now(UTC)

    def batch(self, rows: Sequence[dict[str, Any]]) -> BaselineBatch:
        """The rows that a batch of these transactions writes, in the order of their keys."""
        for row in rows:
            self._add(row["account_id"], row["amount_minor"], row["posted_at"])
        touched = sorted({row["account_id"] for row in rows})
        moved = [(goal, account_id, before) for account_id in touched for goal, before in self._move(account_id)]
        moved.sort(key=lambda each: each[0].key)
        return BaselineBatch(
            sorted((tuple(row.values()) for row in rows), key=lambda row: row[:3]),
            [self._entry(goal, account_id, before) for goal, account_id, before in moved],
            [self._account(account_id) for account_id in touched],
            [self._goal(goal) for goal, _, _ in moved],
        )

    def _add(self, account_id: str, amount_minor: int, posted_at: datetime) -> None:
        self._worths[account_id] = self._worths.get(account_id, 0) + amount_minor
        self._inflows[account_id] = self._inflows.get(account_id, 0) + max(0, amount_minor)
        self._lasts[account_id] = max(posted_at, self._lasts.get(account_id, posted_at))

    def _move(self, account_id: str) -> Iterator[tuple[_Goal, int]]:
        """Yield the account's goals whose amounts have changed, with the amount before."""
        for goal in self._goals[account_id]:
            before, goal.amount_minor = goal.amount_minor, cut_share(self._worths[account_id], goal.ppm)
            if goal.amount_minor != before:
                goal.entries, goal.version = goal.entries + 1, goal.version + 1
                yield goal, before

    def _account(self, account_id: str) -> Row:
        counted = {
            "worth_minor": self._worths[account_id],
            "inflow_minor": self._inflows[account_id],
            "last_transaction_at": self._lasts[account_id],
        }
        return tuple((self._accounts[account_id] | counted)[column] for column in ACCOUNT)

    def _goal(self, goal: _Goal) -> Row:
        reached = goal.next_milestone_minor, goal.reached_at
        return *goal.key, goal.amount_minor, *reached, goal.entries, goal.version, self._now

    def _entry(self, goal: _Goal, account_id: str, before: int) -> Row:
        accounts = driver.texts([account_id])
        return *goal.key, goal.entries, self._now, before, goal.amount_minor, "events", accounts
