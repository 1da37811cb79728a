"""During live work a verification finds nothing wrong: each range of keys is read in one database snapshot."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import timedelta

from core.jobs.snapshot import run_snapshot
from core.store.driver import Sql
from core.store.outbox import forget_messages, position_at
from core.store.tenants import Tenant
from core.verify.verify import Progress, verify
from tests.verify.conftest import Filled
from tests.verify.world import LATEST, Town

ROUNDS = 6
MONTH_H = 19 * 24
_OTHERS_SNAPSHOTS = Sql(
    """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND backend_xmin IS NOT NULL"""
)


def test_live_writes_raise_no_alarm(filled: Filled) -> None:
    """While late and timely facts arrive, manual amounts are set, shares change and days close, nothing is wrong."""
    stop = threading.Event()
    failures: list[BaseException] = []
    done = {"facts": 0, "operations": 0, "closings": 0}

    def repeating(name: str, operation: Callable[[int], None]) -> threading.Thread:
        def work() -> None:
            try:
                while not stop.is_set():
                    operation(done[name])
                    done[name] += 1
            except BaseException as error:  # noqa: BLE001  # a thread's edge: the test asserts on it below
                failures.append(error)

        return threading.Thread(target=work)

    town = Town(filled.sessions, Tenant("default", "UTC"), "USD", filled.goals, facts=10_000)
    threads = [
        repeating("facts", lambda number: _record_some_fact(town, number)),
        repeating("operations", lambda number: _change_some_goal(town, number)),
        repeating("closings", lambda number: run_snapshot(filled.sessions, LATEST + number * timedelta(hours=6))),
    ]
    for thread in threads:
        thread.start()
    try:
        found = [verify(filled.sessions, LATEST, keys_at_once=2) for _ in range(ROUNDS)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert [violation for each in found for violation in each.first] == []
    assert min(done.values()) > 0
    assert found[-1].checked["goal_entries"] > found[0].checked["goal_entries"]
    assert verify(filled.sessions, LATEST).first == ()


def _record_some_fact(town: Town, number: int) -> None:
    chance = random.Random(number)
    at = town.at(1) + timedelta(hours=chance.randrange(MONTH_H))
    account = chance.choice(["savings", "checking", "visa", "flat", "silent"])
    if chance.random() < 0.25:
        town.reported(account, chance.randrange(9_000), at)
    else:
        town.paid(f"p{chance.randrange(200)}", account, chance.randrange(-900, 900), at)


def _change_some_goal(town: Town, number: int) -> None:
    at = LATEST + number * timedelta(minutes=1)
    town.change("unlinked", at, current_amount=str(number % 50))
    town.allocate("trip", "savings", str(1 + number % 40), at)
    town.change("trip", at, current_amount=str(number % 4_000))


def test_each_range_is_read_at_a_moment_of_its_own(filled: Filled) -> None:
    """Between two ranges of keys no old database snapshot is kept, and the next range sees what changed meanwhile."""
    open_snapshots: list[int] = []

    def between(progress: Progress) -> None:
        with filled.sessions.begin() as session:
            open_snapshots.append(_OTHERS_SNAPSHOTS.value(session, {}))
            if (progress.tenant, progress.table, progress.done) == ("default", "goals", 1):
                Sql("UPDATE goals SET amount_minor = amount_minor + 1 WHERE tenant = 'default'").run(session, {})

    found = verify(filled.sessions, LATEST, keys_at_once=1, progress=between)
    assert len(open_snapshots) > len(filled.goals)
    assert set(open_snapshots) == {0}
    wrong = {row.key["goal_id"] for row in found.first if row.check == "goals"}
    assert 0 < len(wrong) == len(filled.goals) - 1


def test_a_tenant_may_go_while_it_is_verified(filled: Filled) -> None:
    """A tenant that is deleted between two ranges is not compared any further."""

    def delete(progress: Progress) -> None:
        if (progress.tenant, progress.table, progress.done) == ("york", "accounts", 1):
            with filled.sessions.begin() as session:
                Sql("SET LOCAL session_replication_role = replica").run(session, {})
                Sql("DELETE FROM tenants WHERE tenant = 'york'").run(session, {})

    found = verify(filled.sessions, LATEST, keys_at_once=1, progress=delete)
    assert (found.tenants, found.first) == (("cuba", "default", "york"), ())


def test_messages_dropped_while_it_runs_raise_no_alarm(filled: Filled) -> None:
    """During a run, messages may be deleted that were not yet 90 days old when the run began."""
    marked_at = LATEST - timedelta(days=90) + timedelta(minutes=1)
    with filled.sessions.begin() as session:
        marked = Sql("UPDATE milestones SET marked_at = :at WHERE reached_at IS NOT NULL RETURNING 1").rows(
            session, {"at": marked_at}
        )
        Sql("""UPDATE outbox o SET created_at = :at, position = :since + n
            FROM (SELECT message_id, row_number() OVER () AS n FROM outbox) r WHERE r.message_id = o.message_id""").run(
            session, {"at": marked_at, "since": position_at(marked_at)}
        )
    dropped: list[int] = []

    def drop(progress: Progress) -> None:
        if progress.table == "goals" and not progress.done:
            with filled.sessions.begin() as session:
                dropped.append(forget_messages(session, LATEST + timedelta(minutes=30) - timedelta(days=90)))

    assert marked
    assert verify(filled.sessions, LATEST, progress=drop).first == ()
    assert sum(dropped) > 0
