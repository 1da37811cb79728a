"""Seeds a database before the events: accounts with an opening report, and two goals on each.

One account is made by the product; the others are copies of its rows with other ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import psycopg
from sqlalchemy import Table

from benchmarks.workload import CURRENCY, account_id, envelope, mark
from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.funding import link_account
from core.services.goals import create_goal
from core.services.inputs import GoalDraft, LinkDraft, MilestoneDraft
from core.services.keys import bootstrap
from core.services.milestones import add_milestone
from core.store import tables
from core.store.database import driver_url, open_sessions
from core.store.driver import Session, Sql
from core.store.migrate import migrate
from core.store.tenants import DEFAULT, Tenant

# The model's links begin within microseconds after its seed. What is posted from this much later on counts for them.
HAS_BEGUN = timedelta(seconds=1)
PERCENTS: Final = {Tracking.BALANCE: 60, Tracking.CHANGE: 40}
_TARGET, _MILESTONES = "10000.00", ("150.00", "2500.00", "5000.00")
_MODEL = 0

_OF_ACCOUNTS = (tables.accounts, tables.reports)
_OF_GOALS = (tables.goals, tables.milestones, tables.links, tables.goal_entries)
# The values of these columns contain the mark of the account's number.
_MARKED = {"account_id", "user_id", "user_id_rank", "kind_rank", "event_id", "currency_event_id"}
# As `new_id` makes them: the milliseconds of the creation, here one apart, and 20 digits that look random.
_GOAL_ID = "'goal_' || lpad(to_hex(CAST(:created_ms AS bigint) + n), 12, '0') || left(md5(m.goal_id || n), 20)"


@dataclass(frozen=True, slots=True)
class Copies:
    """The accounts numbered `first` to `last`, to be copied from the rows of a model that was made at `made_at`."""

    model: int
    first: int
    last: int
    made_at: datetime


def seed(url: str, accounts: int, seeded_at: datetime, *, is_closed: bool = False) -> None:
    """Migrate an empty database and make `accounts` accounts and their goals, all at `seeded_at`.

    `is_closed`: the days before are closed, as in a running system; else none is.
    """
    migrate(url)
    with open_sessions(url, application_name="milepost bench", limits={}) as sessions:
        with sessions.begin() as session:
            bootstrap(session, key=None, now=seeded_at)
            make_account(session, _MODEL, seeded_at)
        if is_closed:
            run_snapshot(sessions, seeded_at)
        with sessions.begin() as session:
            for table in (*_OF_ACCOUNTS, *_OF_GOALS):
                multiply(session, table, Copies(_MODEL, 1, accounts - 1, seeded_at))
    vacuum(url)


def vacuum(url: str) -> None:
    """Do the work of autovacuum and the checkpointer, which would have been done before the first event."""
    with psycopg.connect(driver_url(url), autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def make_account(session: Session, number: int, now: datetime) -> None:
    """Make one account with its goals by the operations that producers and callers use."""
    tenant = Tenant(DEFAULT, "UTC")
    apply_events(session, [_opening(number, now)], now)
    for tracking, percent in PERCENTS.items():
        draft = GoalDraft(
            f"user-{mark(number)}", f"Bench {tracking}", GoalType.SAVINGS, _TARGET, currency=CURRENCY, tracking=tracking
        )
        goal = create_goal(session, tenant, draft, now)
        for amount in _MILESTONES:
            add_milestone(session, tenant, goal.goal_id, MilestoneDraft(amount), now)
        link_account(session, tenant, goal.goal_id, LinkDraft(account_id(number), None, percent), now)


def _opening(number: int, now: datetime) -> StreamEntry:
    data = {
        "account_id": account_id(number),
        "user_id": f"user-{mark(number)}",
        "kind": "asset",
        "current": 0,
        "currency": CURRENCY,
        "as_of": now.isoformat(),
    }
    event = envelope("balance.reported", f"opening-{mark(number)}", now, data)
    return StreamEntry(0, f"0-{number + 1}", now, DEFAULT, event)


def multiply(session: Session, table: Table, copies: Copies, *, order: str = "n") -> None:
    """Write the model's rows of a table again for other accounts; `order` is SQL, with `m` for the model's row."""
    names = [column.name for column in table.columns]
    of_model = (
        "m.account_id = :account"
        if "account_id" in names
        else "m.goal_id IN (SELECT goal_id FROM links WHERE account_id = :account)"
    )
    # The model's rows have passed every constraint; checking each copy again would double the time.
    session.execute("SET LOCAL session_replication_role = replica")
    copy = Sql(
        f"""INSERT INTO {table.name} ({", ".join(names)})
        SELECT {", ".join(map(_expression, names))}
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n CROSS JOIN {table.name} m
        WHERE {of_model} ORDER BY {order}"""
    )
    copy.run(
        session,
        {
            "first": copies.first,
            "last": copies.last,
            "model": mark(copies.model),
            "account": account_id(copies.model),
            "created_ms": int(copies.made_at.timestamp() * 1000),
        },
    )


def _expression(column: str) -> str:
    if column == "goal_id":
        return _GOAL_ID
    if column == "milestone_id":
        return "left(m.milestone_id, -20) || left(md5(m.milestone_id || n), 20)"
    if column in _MARKED:
        return f"replace(m.{column}, :model, 'n' || lpad(n::text, 7, '0'))"
    return f"m.{column}"
