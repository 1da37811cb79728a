"""All at once: two drains, closings, projections and requests of every kind, and then every promise is checked."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from core.errors import MilepostError
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.project import run_project
from core.jobs.snapshot import run_snapshot
from core.jobs.verify import run_verify
from core.services.funding import change_allocation, link_account, unlink_account
from core.services.goals import delete_goal, update_goal
from core.services.inputs import GoalChanges, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import DEFAULT, balance, event, goal, paid

ACCOUNTS = ("a", "b", "c", "d")
DAYS = 20
ROUNDS = 20


class Storm:
    """What the threads share: the goals that there are, and the errors that there must not be."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.began = datetime.now(UTC)
        self.goals: list[str] = []
        self.errors: list[BaseException] = []
        self.is_over = threading.Event()

    def run(self, *acts: Callable[[], None]) -> None:
        """Run all acts side by side; the last one ends the storm."""

        def guarded(act: Callable[[], None], is_last: bool) -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001  # of a thread: the test looks at it
                self.errors.append(error)
            finally:
                if is_last or self.errors:
                    self.is_over.set()

        threads = [threading.Thread(target=guarded, args=(act, act is acts[-1])) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def past(self, chance: random.Random) -> datetime:
        """Some moment of the last days, mostly of the present one."""
        if chance.random() < 0.5:
            return datetime.now(UTC)
        return self.began - timedelta(minutes=chance.randrange(DAYS * 1_440))

    def drain(self, name: str) -> None:
        """Facts old and new, edits and removals among them, of accounts that change hands and go on as each other."""
        chance = random.Random(name)
        number = 0
        while not self.is_over.is_set():
            number += 1
            bodies = [self._fact(chance, f"{name}{number}-{n}") for n in range(6)]
            entries = [
                StreamEntry(0, f"{number}-{n}", datetime.now(UTC), "default", body) for n, body in enumerate(bodies)
            ]
            with self.sessions.begin() as session:
                apply_events(session, entries, datetime.now(UTC))

    def _fact(self, chance: random.Random, name: str) -> bytes:
        account, at = chance.choice(ACCOUNTS), self.past(chance)
        if chance.random() < 0.06:
            other = chance.choice([None, *(each for each in ACCOUNTS if each != account)])
            return event("account.changed", datetime.now(UTC), name, {"account_id": account, "replaced_by": other})
        user = {"user_id": chance.choice(["u", "u", "u", "v"])} if chance.random() < 0.2 else {}
        if chance.random() < 0.3:
            return balance(chance.randrange(100_000), at, account, **user)
        return paid(
            f"t{chance.randrange(60)}" if chance.random() < 0.5 else name, chance.randrange(-900, 999), at, account
        )

    def close(self) -> None:
        """Closings, now and then with a projection."""
        while not self.is_over.is_set():
            run_snapshot(self.sessions, datetime.now(UTC))
            run_project(self.sessions, datetime.now(UTC))

    def request(self) -> None:
        """Every act on goals; what is refused is refused, and no error of the database comes through."""
        chance = random.Random("requests")
        for _ in range(ROUNDS):
            self._create(chance)
            for _ in range(6):
                with suppress(MilepostError), self.sessions.begin() as session:
                    self._operation(
                        session, chance, chance.choice(self.goals), chance.choice(ACCOUNTS), datetime.now(UTC)
                    )

    def _create(self, chance: random.Random) -> None:
        tracking = chance.choice(list(Tracking))
        # Only closes since its creation complete a goal.
        created = self.began - timedelta(days=chance.randrange(DAYS))
        start = (created - timedelta(days=chance.randrange(DAYS))).date()
        self.goals.append(
            goal(
                self.sessions,
                created,
                type=GoalType.CUSTOM,
                tracking=tracking,
                start_date=start,
                user_id=chance.choice(["u", "v"]),
                target_amount=str(chance.randrange(1, 400)),
                auto_complete=chance.random() < 0.5,
            )
        )

    def _operation(self, session: object, chance: random.Random, goal_id: str, account: str, now: datetime) -> None:
        from_ = (self.began - timedelta(days=chance.randrange(DAYS))).date() if chance.random() < 0.7 else None
        percent, amount = str(chance.randrange(1, 60)), str(chance.randrange(1, 900))
        status = chance.choice([GoalStatus.PAUSED, GoalStatus.ACTIVE, GoalStatus.ACTIVE, GoalStatus.ABANDONED])
        acts: list[Callable[..., object]] = [
            lambda s: link_account(s, DEFAULT, goal_id, LinkDraft(account, None, percent, from_), now),
            lambda s: link_account(s, DEFAULT, goal_id, LinkDraft(account, None, 100, from_, whole=True), now),
            lambda s: change_allocation(s, DEFAULT, goal_id, account, percent, now),
            lambda s: unlink_account(s, DEFAULT, goal_id, account, now),
            lambda s: update_goal(s, DEFAULT, goal_id, GoalChanges(current_amount=amount), now),
            lambda s: update_goal(s, DEFAULT, goal_id, GoalChanges(target_amount=amount), now),
            lambda s: update_goal(s, DEFAULT, goal_id, GoalChanges(status=status), now),
            lambda s: add_milestone(s, DEFAULT, goal_id, MilestoneDraft(amount), now),
        ]
        if chance.random() < 0.03:
            delete_goal(session, DEFAULT, goal_id, now)  # type: ignore[arg-type]
        else:
            chance.choice([*acts[:1], *acts])(session)


def test_every_promise_holds_after_a_storm(session_factory: Sessions) -> None:
    """There is no deadlock, and all that is stored follows from the facts, during the storm and after it."""
    storm = Storm(session_factory)
    found: list[tuple[str, ...]] = []

    def verify() -> None:
        while not storm.is_over.is_set():
            found.append(run_verify(session_factory, datetime.now(UTC)).rows)

    storm.run(lambda: storm.drain("x"), lambda: storm.drain("y"), storm.close, verify, storm.request)
    assert storm.errors == []
    # The close of the day on which the requests came completes what is at its target.
    run_snapshot(session_factory, datetime.now(UTC) + timedelta(days=1))
    found.append(run_verify(session_factory, datetime.now(UTC)).rows)
    assert [rows for rows in found if rows] == []
    with session_factory() as session:
        closed = Sql("SELECT count(*) FROM goal_snapshots").value(session, {})
        marked = Sql("SELECT count(*) FROM milestones WHERE reached_at IS NOT NULL").value(session, {})
        done = Sql("SELECT count(*) FROM goals WHERE status = 'completed'").value(session, {})
    assert closed
    assert marked
    assert done
