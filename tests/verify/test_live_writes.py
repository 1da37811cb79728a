"""Beside live work a verification finds nothing wrong: it reads one moment, and what is promised at that moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import timedelta

from core.pipeline.snapshot import run_snapshot
from core.store.tenants import Tenant
from core.verify.verify import verify
from tests.verify.conftest import Filled
from tests.verify.world import LATEST, Town

ROUNDS = 6
MONTH_H = 19 * 24


def test_live_writes_raise_no_alarm(filled: Filled) -> None:
    """While facts arrive late and in order, amounts are typed, shares change and days close, nothing is found wrong."""
    stop = threading.Event()
    failures: list[BaseException] = []
    done = {"facts": 0, "acts": 0, "closings": 0}

    def keep_on(name: str, act: Callable[[int], None]) -> threading.Thread:
        def work() -> None:
            try:
                while not stop.is_set():
                    act(done[name])
                    done[name] += 1
            except BaseException as error:  # noqa: BLE001  # a thread's edge: told to the test below
                failures.append(error)

        return threading.Thread(target=work)

    town = Town(filled.sessions, Tenant("default", "UTC"), "USD", filled.goals, told=10_000)
    threads = [
        keep_on("facts", lambda number: _tell_something(town, number)),
        keep_on("acts", lambda number: _do_something(town, number)),
        keep_on("closings", lambda number: run_snapshot(filled.sessions, LATEST + number * timedelta(hours=6))),
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


def _tell_something(town: Town, number: int) -> None:
    chance = random.Random(number)
    at = town.at(1) + timedelta(hours=chance.randrange(MONTH_H))
    account = chance.choice(["savings", "checking", "visa", "flat", "silent"])
    if chance.random() < 0.25:
        town.reported(account, chance.randrange(9_000), at)
    else:
        town.paid(f"p{chance.randrange(200)}", account, chance.randrange(-900, 900), at)


def _do_something(town: Town, number: int) -> None:
    at = LATEST + number * timedelta(minutes=1)
    town.change("unlinked", at, current_amount=str(number % 50))
    town.allocate("trip", "savings", str(1 + number % 40), at)
    town.change("trip", at, current_amount=str(number % 4_000))
