"""Upgrading: a database of the first version, with goals in it, is closed rightly by this one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Engine, text

from core.errors import InvalidField
from core.goals.goal import GoalType
from core.jobs.snapshot import run_snapshot
from core.services.goals import create_goal, update_goal
from core.services.history import read_snapshots
from core.services.inputs import GoalChanges, GoalDraft
from core.services.milestones import check_milestones
from core.store.engine import make_engine, session_factory
from core.store.migrate import _config, migrate
from core.store.tenants import Tenant
from milepost.embedded.postgres import EmbeddedPostgres

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)

# A goal that was typed 1,000.00 by slip, which its target of 100.00 does not stand, and corrected to 30.00 since.
OLD = """
INSERT INTO tenants (tenant, time_zone, created_at) VALUES ('default', 'UTC', '2026-02-01');
INSERT INTO accounts (tenant, account_id, currency, worth_minor, inflow_minor)
VALUES ('default', 'a', 'USD', 500, 500);
INSERT INTO transactions (tenant, account_id, transaction_id, amount_minor, currency, posted_at, counts, event_time,
    source, event_id) VALUES ('default', 'a', 't', 500, 'USD', '2026-03-09 12:00Z', true, '2026-03-09', 's', 'e');
INSERT INTO account_days (tenant, account_id, day, moved_minor, inflow_minor)
VALUES ('default', 'a', '2026-03-09', 500, 500);
INSERT INTO goals (tenant, goal_id, user_id, name, type, tracking, currency, target_minor, start_minor, finish_minor,
    typed_minor, typed_at, amount_minor, start_date, auto_complete, status, acted_at, entries, created_at, updated_at)
VALUES ('default', 'g', 'u', 'g', 'savings', 'change', 'USD', 10000, 0, 10000, 3000, '2026-03-08 12:00Z', 3500,
    '2026-03-01', true, 'active', '2026-03-08 12:00Z', 4, '2026-03-01', '2026-03-09');
INSERT INTO typed_amounts VALUES
    ('default', 'g', '2026-03-05 12:00Z', 100000), ('default', 'g', '2026-03-08 12:00Z', 3000);
INSERT INTO goal_entries (tenant, goal_id, entry, recorded_at, before_minor, after_minor, cause) VALUES
    ('default', 'g', 1, '2026-03-01', NULL, 0, 'created'), ('default', 'g', 2, '2026-03-05', 0, 100000, 'typed'),
    ('default', 'g', 3, '2026-03-08', 100000, 3000, 'typed'), ('default', 'g', 4, '2026-03-09', 3000, 3500, 'events');
INSERT INTO links (tenant, goal_id, account_id, linked_at, from_at, ppm, measure, begin_at)
VALUES ('default', 'g', 'a', '2026-03-02', '2026-03-02', 1000000, 'worth', '2026-03-08 12:00Z');
"""

# Two milestones of that goal, one of them passed in the time of the version that it was added by.
MILESTONES = """
INSERT INTO milestones (tenant, goal_id, amount_minor, reached_at, marked_at, created_at) VALUES
    ('default', 'g', 2000, '2026-03-08 12:00Z', '2026-03-08 12:01Z', '2026-03-01'),
    ('default', 'g', 9000, NULL, NULL, '2026-03-01');
UPDATE goals SET next_milestone_minor = 9000;
"""


@pytest.fixture
def old(postgres: EmbeddedPostgres) -> Iterator[Engine]:
    """A database as the first version left it."""
    plain = postgres.url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("CREATE DATABASE of_the_first_version")
    engine = make_engine(postgres.url.rpartition("/")[0] + "/of_the_first_version", application_name="tests")
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(OLD)
        connection.commit()
    yield engine
    engine.dispose()
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("DROP DATABASE of_the_first_version")


def test_a_database_of_the_first_version_is_closed_from_its_first_day(old: Engine) -> None:
    """Every day since a goal began is closed, yesterday's facts included; no goal is completed by what was mistyped."""
    migrate(old)
    sessions = session_factory(old)
    done = run_snapshot(sessions, NOW)
    assert (done.goals, done.completed) == (1, 0)
    with sessions() as session:
        rows = session.execute(text("SELECT day, amount_minor FROM goal_snapshots ORDER BY day")).all()
        assert session.scalar(text("SELECT closed_through FROM tenants")) == date(2026, 3, 9)
    assert [tuple(row) for row in rows] == [
        (date(2026, 3, 1), 0),
        (date(2026, 3, 5), 100_000),
        (date(2026, 3, 8), 3_000),
        (date(2026, 3, 9), 3_500),
    ]


def test_what_the_days_of_accounts_moved_outlives_their_table(old: Engine) -> None:
    """Kept by the first version, it is summed up from the facts by this one, and is the same."""
    asked = text("SELECT account_id, day, moved_minor, residual_minor, inflow_minor FROM account_days")
    with old.connect() as connection:
        kept = connection.execute(asked).all()
    migrate(old)
    with old.connect() as connection:
        assert connection.execute(asked).all() == kept == [("a", date(2026, 3, 9), 500, 0, 500)]


def _upgrade(engine: Engine, revision: str, *statements: str) -> None:
    """Bring the database to a revision, and do there what a version of that time did."""
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()


def _checked(engine: Engine, **changes: Any) -> list[int]:
    """Which milestones are news, in minor units, once the goal was changed."""
    tenant = Tenant("default", "UTC")
    with session_factory(engine).begin() as session:
        if changes:
            update_goal(session, tenant, "g", GoalChanges(**changes), NOW)
        _, reached = check_milestones(session, tenant, "g", NOW)
    return [milestone.amount_minor for milestone in reached]


def test_milestones_that_were_reached_before_the_upgrade_are_no_news(old: Engine) -> None:
    """Who asks for the first time gets what was reached since; the others were there to be seen all along."""
    _upgrade(old, "0001", MILESTONES)
    migrate(old)
    assert _checked(old) == []
    assert _checked(old, current_amount=Decimal(95)) == [9000]


def test_news_of_an_application_that_asks_already_stays(old: Engine) -> None:
    """Where a milestone of the tenant was given by a check before the upgrade, all others are still to be given."""
    asked = "UPDATE milestones SET reached_at = '2026-03-09', marked_at = '2026-03-09', checked_at = '2026-03-09'"
    _upgrade(old, "0013", MILESTONES, f"{asked} WHERE amount_minor = 9000")
    migrate(old)
    assert _checked(old) == [2000]


# The days of that goal as the version before closed them, all but the day of the payment.
CLOSED = """
INSERT INTO goal_snapshots (tenant, goal_id, day, amount_minor) VALUES
    ('default', 'g', '2026-03-01', 0), ('default', 'g', '2026-03-05', 100000), ('default', 'g', '2026-03-08', 3000);
UPDATE tenants SET closed_through = '2026-03-09';
UPDATE goals SET dirty_from = NULL;
UPDATE accounts SET dirty_from = '2026-03-09';
"""


def _known(engine: Engine, goal_id: str, at: datetime, now: datetime) -> dict[date, int]:
    with session_factory(engine)() as session:
        tenant = Tenant("default", "UTC")
        view = read_snapshots(session, tenant, goal_id, from_day=None, to_day=None, now=now, as_known_at=at)
    return {close.day: close.amount_minor for close in view.closes}


def test_what_was_believed_before_the_upgrade_is_not_told(old: Engine) -> None:
    """It was not recorded, so a moment before is refused by name; from then on every rewriting is."""
    _upgrade(old, "0014", CLOSED)
    migrate(old)
    with old.connect() as connection:
        since: datetime = connection.execute(text("SELECT closes_recorded_from FROM tenants")).scalar_one()
    now = since + timedelta(hours=2)
    with pytest.raises(InvalidField, match=f"is before {since:%Y-%m-%dT%H:%M:%S.%fZ}, since when it is recorded"):
        _known(old, "g", since - timedelta(microseconds=1), now)
    then = _known(old, "g", since, now)
    assert (min(then), max(then), then[date(2026, 3, 9)]) == (date(2026, 3, 1), date(2026, 3, 9), 3_000)
    with session_factory(old).begin() as session:
        draft = GoalDraft("u", "new", GoalType.SAVINGS, "100")
        made = create_goal(session, Tenant("default", "UTC"), draft, since + timedelta(minutes=1)).goal_id
    run_snapshot(session_factory(old), since + timedelta(hours=1))
    assert _known(old, "g", since, now) == then
    assert _known(old, "g", now, now) == _dense_until(then, since, 3_500)
    # Of a goal that was not there before the upgrade it is known that nothing was known.
    assert _known(old, made, since - timedelta(days=30), now) == {}


def _dense_until(then: dict[date, int], now: datetime, amount: int) -> dict[date, int]:
    """The closes of then, and one amount for every day from the payment on."""
    first = date(2026, 3, 9)
    days = (now.date() - first).days
    return then | {first + timedelta(days=number): amount for number in range(days)}
