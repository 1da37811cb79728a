"""The database's shape: migrations make the tables of the code, on both Postgres versions of the wheel."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from core.goals.goal import DebtForm, GoalStatus, GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.providers.contracts import Sign
from core.services.funding import link_account
from core.services.goals import create_goal, get_goal
from core.services.inputs import GoalDraft, LinkDraft
from core.services.keys import bootstrap
from core.store.database import Sessions, open_sessions
from core.store.driver import Session, Sql
from core.store.migrate import NewerRevision, NotMigrated, UnknownRevision, is_behind, migrate, require_current
from core.store.tables import metadata
from core.store.tenants import Tenant
from milepost.embedded.postgres import EmbeddedPostgres
from tests.acts import event


def test_migrations_make_the_tables_of_the_code(engine: Engine, session_factory: Sessions) -> None:
    """Upgrading from empty leaves no difference from the tables in core.store.tables."""
    require_current(session_factory)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_database_takes_the_values_of_the_code(engine: Engine) -> None:
    """A new member of an enumeration has its migration: the check of its column names all members and nothing else."""
    read = text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name")
    enumerations = {"goals_type": GoalType, "goals_tracking": Tracking, "goals_status": GoalStatus}
    enumerations |= {"goals_debt_form": DebtForm, "provider_accounts_sign": Sign}
    with engine.connect() as connection:
        for column, values in enumerations.items():
            check = connection.execute(read, {"name": f"{column}_check"}).scalar_one()
            assert re.findall("'([^']*)'", check) == list(values)


def test_tables_are_stored_as_the_code_says(engine: Engine) -> None:
    """Those that are updated most leave room in their pages, and no other table has options of its own."""
    stored = text("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND reloptions IS NOT NULL")
    with engine.connect() as connection:
        found = {name: tuple(options) for name, options in connection.execute(stored)}
    expected = {table.name: table.info["storage"] for table in metadata.tables.values() if "storage" in table.info}
    assert found == expected == dict.fromkeys(("accounts", "deliveries", "goals", "milestones"), ("fillfactor=80",))


def test_a_database_of_before_the_first_release_is_left_as_it_is(
    engine: Engine, session_factory: Sessions, database_url: str
) -> None:
    """It is refused and not migrated."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0029'"))
        connection.execute(text("DROP TABLE forecasts"))
    for refusing in (partial(migrate, database_url), partial(require_current, session_factory)):
        with pytest.raises(UnknownRevision, match=r"^the database is at revision 0029, which"):
            refusing()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('forecasts')")) is None


def test_a_database_that_newer_code_has_migrated_can_be_used(
    engine: Engine, session_factory: Sessions, database_url: str
) -> None:
    """Processes of this version start and are ready, as in an upgrade machine by machine; only migrating is refused."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0002_of_tomorrow'"))
        connection.execute(text("DROP TABLE forecasts"))
    require_current(session_factory)
    assert not is_behind(session_factory)
    with pytest.raises(NewerRevision, match=r"^the database is at revision 0002_of_tomorrow of a newer Milepost"):
        migrate(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('forecasts')")) is None


def test_a_database_whose_first_migration_was_cut_short_is_migrated(
    engine: Engine, session_factory: Sessions, database_url: str
) -> None:
    """The table of revisions is there and empty, and nothing else: the next migration makes all of it."""
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
    assert is_behind(session_factory)
    with pytest.raises(NotMigrated, match="run `milepost migrate`"):
        require_current(session_factory)
    migrate(database_url)
    require_current(session_factory)
    assert not is_behind(session_factory)


def test_every_primary_key_begins_with_the_tenant() -> None:
    """The schema can be distributed by tenant as it is."""
    for table in metadata.tables.values():
        assert next(column.name for column in table.primary_key) == "tenant", table.name


@pytest.fixture(scope="module")
def postgres_16(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The older of the two versions in the wheel."""
    server = EmbeddedPostgres.start(
        tmp_path_factory.mktemp("sixteen") / "postgres", version=16, settings={"fsync": "off"}
    )
    yield server
    server.stop()


def test_postgres_16_runs_migrations_batches_and_requests(postgres_16: EmbeddedPostgres, now: datetime) -> None:
    """Two processes that migrate at once both end well, and a batch moves a goal there as on the newest version."""
    threads = [threading.Thread(target=migrate, args=(postgres_16.url,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with open_sessions(postgres_16.url, application_name="tests") as sessions:
        require_current(sessions)
        with sessions() as session:
            assert "16." in Sql("SHOW server_version").value(session, {})
        tenant = Tenant("default", "UTC")
        with sessions.begin() as session:
            bootstrap(session, key=None, now=now)
            draft = GoalDraft("u", "g", GoalType.SAVINGS, "100", tracking=Tracking.BALANCE)
            goal_id = create_goal(session, tenant, draft, now).goal_id
            link_account(session, tenant, goal_id, LinkDraft("a", None, "60"), now)
        report = {"account_id": "a", "current": "50.00", "currency": "USD", "as_of": now.isoformat()}
        spent = {"account_id": "a", "transaction_id": "t", "amount": -10, "currency": "USD"}
        spent["posted_at"] = (now - timedelta(days=3)).isoformat()
        bodies = [event("balance.reported", now, "1", report), event("transaction.recorded", now, "2", spent)]
        with sessions.begin() as session:
            apply_events(session, [StreamEntry(0, f"1-{n}", now, "default", b) for n, b in enumerate(bodies)], now)
        with sessions() as session:
            assert get_goal(session, tenant, goal_id).amount_minor == 3000


def test_a_batch_reads_no_history(engine: Engine, session_factory: Sessions, now: datetime) -> None:
    """The rows of facts that a batch fetches do not grow with the history of its accounts, late facts included."""
    fetched: dict[str, int] = {}
    for account, days in (("short", 30), ("long", 3000)):
        with session_factory.begin() as session:
            bodies = [
                event(
                    "transaction.recorded",
                    now - timedelta(days=n),
                    f"{account}{n}",
                    {
                        "account_id": account,
                        "transaction_id": f"t{n}",
                        "amount": 1,
                        "currency": "USD",
                        "posted_at": (now - timedelta(days=n, hours=1)).isoformat(),
                    },
                )
                for n in range(days)
            ] + [
                event(
                    "balance.reported",
                    now - timedelta(days=n),
                    f"{account}r{n}",
                    {
                        "account_id": account,
                        "current": n,
                        "currency": "USD",
                        "as_of": (now - timedelta(days=n)).isoformat(),
                    },
                )
                for n in range(0, days, 5)
            ]
            apply_events(session, [StreamEntry(0, f"1-{n}", now, "default", b) for n, b in enumerate(bodies)], now)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    for account, days in (("short", 30), ("long", 3000)):
        late = {
            "account_id": account,
            "transaction_id": "late",
            "amount": 7,
            "currency": "USD",
            "posted_at": (now - timedelta(days=days - 3, hours=2)).isoformat(),
        }
        report = {
            "account_id": account,
            "current": 3,
            "currency": "USD",
            "as_of": (now - timedelta(days=days - 13, hours=2)).isoformat(),
        }
        bodies = [event("transaction.recorded", now, "late", late), event("balance.reported", now, "report", report)]
        with session_factory.begin() as session:
            before = _rows_fetched(session)
            entries = [StreamEntry(0, f"2-{n}", now, "default", body) for n, body in enumerate(bodies)]
            apply_events(session, entries, now)
            fetched[account] = _rows_fetched(session) - before
    assert fetched["long"] <= fetched["short"] + 5


def _rows_fetched(session: Session) -> int:
    """How many rows of facts this connection has fetched, by index or by scan."""
    count = Sql(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) "
        "FROM pg_stat_xact_user_tables WHERE relname IN ('transactions', 'reports')"
    )
    return int(count.value(session, {}) or 0)
