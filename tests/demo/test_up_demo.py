"""`milepost up --demo` as a user meets it: full within moments, moving, and the same after any end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from core.goals.goal import GoalType, Tracking
from milepost.demo.life import Life
from milepost.demo.people import PEOPLE
from milepost.embedded.datadir import DataDir
from tests.demo.conftest import StartDemo
from tests.embedded.test_up import Up, kill_all

Question = Callable[[], object]
MANY_DAYS = "1000"
MOVES_WITHIN_S = 30
GOALS = sum(len(person.goals) for person in PEOPLE)
# The accounts that the trickle does not touch.
STILL = ("demo-ben-checking", "demo-ben-card", "demo-ben-college", "demo-ana-brokerage", "demo-eli-tax")


def goals_of(up: Up) -> dict[str, dict[str, Any]]:
    status, goals = up.ask("GET", "/goals?limit=100")
    assert status == 200
    return {goal["id"]: goal for goal in goals}


def rows(up: Up, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    servers = DataDir(up.directory).servers()
    assert servers is not None
    with psycopg.connect(servers.database_url.replace("+psycopg", "")) as connection:
        return connection.execute(statement.encode(), parameters).fetchall()


def transactions(up: Up) -> set[tuple[str, str]]:
    found = rows(up, "SELECT account_id, transaction_id FROM transactions WHERE account_id = ANY(%s)", list(STILL))
    return {(row[0], row[1]) for row in found}


def sent_transactions(up: Up) -> set[tuple[str, str]]:
    """The transactions that the lives have sent by now of the accounts that the trickle does not touch."""
    [(begin, now)] = rows(up, "SELECT min(start_date), now() FROM goals")
    datas = [json.loads(each.body)["data"] for each in Life(PEOPLE, begin).through(now)]
    return {(d["account_id"], d["transaction_id"]) for d in datas if "transaction_id" in d and d["account_id"] in STILL}


def test_it_fills_moves_and_goes_on(start_demo: StartDemo, eventually: Callable[[Question, float], bool]) -> None:
    """All types and trackings show over REST, one goal of each type moves, and a milestone's message is printed.

    A later start goes on with the same, and has one endpoint.
    """
    up = start_demo()
    up.read_to("demo: new events")
    command = up.read_to("  curl")
    assert up.key not in command
    assert str(up.directory / "key") in command
    filled = goals_of(up)
    assert len(filled) == GOALS
    assert {goal["type"] for goal in filled.values()} == set(GoalType)
    assert {goal["tracking"] for goal in filled.values()} == set(Tracking)
    assert {goal["status"] for goal in filled.values()} == {"active", "paused", "completed"}
    assert sum(goal["status"] == "completed" for goal in filled.values()) == 1

    def moved_types() -> set[str]:
        now = goals_of(up)
        return {now[id]["type"] for id, goal in filled.items() if now[id]["current_amount"] != goal["current_amount"]}

    assert eventually(lambda: moved_types() == set(GoalType), MOVES_WITHIN_S), moved_types()
    up.read_to("message  milestone.reached  demo-ana: Emergency fund reached ", since=0)
    os.kill(json.loads((up.directory / "servers.json").read_text())["child_pids"]["demo"], signal.SIGKILL)
    assert "starting it again" in up.read_to("demo ended (signal SIGKILL)")
    assert up.ask("GET", "/goals")[0] == 200
    assert up.end() == 0
    again = start_demo()
    again.read_to("demo: new events")
    url = again.read_to("demo: its receiver at ").split()[4]
    assert [endpoint["url"] for endpoint in again.ask("GET", "/endpoints")[1]] == [url]
    assert goals_of(again).keys() == filled.keys()
    amounts = {id: goal["current_amount"] for id, goal in goals_of(again).items()}
    assert eventually(
        lambda: any(goal["current_amount"] != amounts[id] for id, goal in goals_of(again).items()), MOVES_WITHIN_S
    )
    assert again.end() == 0


def test_stopped_or_killed_in_the_middle_it_ends_in_the_same_demo(
    start_demo: StartDemo, processes_in: Callable[[Path], list[int]], eventually: Callable[[Question, float], bool]
) -> None:
    """Ctrl-C while it fills ends everything; after that, and after kill -9 there, a start leaves each event once."""
    up = start_demo("--demo-days", MANY_DAYS)
    up.read_to("events applied: ")
    assert up.end(signal.SIGINT) == 0
    assert processes_in(up.directory) == []
    up = start_demo()
    up.read_to("events applied: ")
    kill_all(up, processes_in)
    up = start_demo()
    # Only the first filling that finishes prints the number of goals and events.
    assert f"{GOALS} goals" in up.read_to("demo: ")
    up.read_to("demo: new events")
    earlier = sent_transactions(up)
    assert eventually(lambda: earlier <= transactions(up), MOVES_WITHIN_S), earlier - transactions(up)
    found = transactions(up)
    assert found <= sent_transactions(up)
    goals = goals_of(up).values()
    assert sorted((g["user_id"], g["name"]) for g in goals) == sorted(
        (person.user_id, goal.name) for person in PEOPLE for goal in person.goals
    )
    assert "New camera" in {goal["name"] for goal in goals if goal["status"] == "completed"}
    assert rows(up, "SELECT count(*) FROM dead_letters") == [(0,)]
    assert up.end() == 0
