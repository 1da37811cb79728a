"""Measures the Python interface: amounts set and milestones checked by a manager, a client and a dictionary."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.check import WrongResult
from benchmarks.manager.dictionary import DictionaryGoals
from core.errors import MilepostError
from core.services.keys import prepare_database
from core.settings import PREFIX
from milepost import Client, GoalManager, Goals, easy_goals, sync
from milepost.embedded.programs import free_port
from milepost.embedded.supervisor import answers
from milepost.ops.latency import Reached, StepProgress

_PATIENCE_S = 30.0
_QUARTERS = (1, 2, 3)
_KEY = "mp_key_of_the_bench_only_0"


class ApiDidNotStart(MilepostError):
    """The API of the benchmark ended, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class ManagerPlan:
    """`rounds` in each mode; a round sets an amount and checks. Modes with several callers have `callers` of them."""

    rounds: int
    callers: int

    def rounds_of(self, callers: int) -> int:
        """Rounds of each caller, who has its own goal: a multiple of four, as milestones are at each quarter."""
        return max(4, self.rounds // callers // 4 * 4)


@dataclass(frozen=True, slots=True)
class ModeStats:
    """The results of one mode; the milliseconds are those of one round."""

    mode: str
    callers: int
    rounds: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rounds_per_s(self) -> float:
        """Rounds a second."""
        return self.rounds / self.seconds


def run_modes(plan: ManagerPlan, database_url: str, redis_url: str, progress: StepProgress) -> Iterator[ModeStats]:
    """Measure each mode on a migrated database; raises WrongResult if a goal or its checks are not what was set."""
    prepare_database(database_url, _KEY)
    yield _measure(plan, "dictionary", progress, _by_dictionary)
    yield _measure(plan, "milepost.sync manager", progress, lambda rounds, note: _by_sync(rounds, note, database_url))
    for callers in (1, plan.callers):
        with_manager = _by_async(lambda: easy_goals(database_url=database_url), callers)
        yield _measure(plan, "milepost manager", progress, with_manager, callers)
    with _api(database_url, redis_url) as url:
        for callers in (1, plan.callers):
            yield _measure(plan, "Client over REST", progress, _by_async(lambda: Client(url, _KEY), callers), callers)


Note = Callable[[float], None]
Run = Callable[[int, Note], None]


def _measure(plan: ManagerPlan, mode: str, progress: StepProgress, run: Run, callers: int = 1) -> ModeStats:
    rounds, took_s = plan.rounds_of(callers), list[float]()
    with progress.step(f"{mode}, {callers} at once", rounds * callers) as reached:
        began_s = time.perf_counter()
        run(rounds, _noting(took_s, reached))
        seconds = time.perf_counter() - began_s
    percentiles = statistics.quantiles(took_s, n=100)
    return ModeStats(mode, callers, len(took_s), seconds, 1_000 * statistics.median(took_s), 1_000 * percentiles[98])


def _noting(took_s: list[float], reached: Reached) -> Note:
    def note(seconds: float) -> None:
        took_s.append(seconds)
        if len(took_s) % 100 == 0:
            reached(len(took_s))

    return note


def _by_dictionary(rounds: int, note: Note) -> None:
    goals = DictionaryGoals()
    goal_id = goals.create_goal("bench", rounds)
    for quarter in _QUARTERS:
        goals.add_milestone(goal_id, rounds // 4 * quarter)
    checked = 0
    for amount in range(1, rounds + 1):
        began_s = time.perf_counter()
        goals.update_goal(goal_id, current_amount=float(amount))
        checked += len(goals.check_milestones(goal_id))
        note(time.perf_counter() - began_s)
    _require(goals.get_goal(goal_id)["current_amount"], checked, rounds)


def _by_sync(rounds: int, note: Note, database_url: str) -> None:
    with sync.easy_goals(database_url=database_url) as goals:
        goal = goals.create_goal("bench", "Bench", "savings", rounds)
        for quarter in _QUARTERS:
            goals.add_milestone(goal.id, rounds // 4 * quarter)
        checked = 0
        for amount in range(1, rounds + 1):
            began_s = time.perf_counter()
            goals.update_goal(goal.id, current_amount=amount)
            checked += len(goals.check_milestones(goal.id))
            note(time.perf_counter() - began_s)
        _require(goals.get_goal(goal.id).current_amount, checked, rounds)


def _by_async(make: Callable[[], GoalManager | Client], callers: int) -> Run:
    async def all_callers(rounds: int, note: Note) -> None:
        async with make() as goals, asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(_one_caller(goals, rounds, note))

    return lambda rounds, note: asyncio.run(all_callers(rounds, note))


async def _one_caller(goals: Goals, rounds: int, note: Note) -> None:
    goal = await goals.create_goal("bench", "Bench", "savings", rounds)
    for quarter in _QUARTERS:
        await goals.add_milestone(goal.id, rounds // 4 * quarter)
    checked = 0
    for amount in range(1, rounds + 1):
        began_s = time.perf_counter()
        await goals.update_goal(goal.id, current_amount=amount)
        checked += len(await goals.check_milestones(goal.id))
        note(time.perf_counter() - began_s)
    _require((await goals.get_goal(goal.id)).current_amount, checked, rounds)


def _require(amount: object, checked: int, rounds: int) -> None:
    if amount != rounds or checked != len(_QUARTERS):
        wanted = f"{rounds} with {len(_QUARTERS)} milestones checked"
        raise WrongResult("setting amounts", [f"a goal has {amount} with {checked}, not {wanted}"])


@contextmanager
def _api(database_url: str, redis_url: str) -> Iterator[str]:
    """An API process of the benchmark."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        f"{PREFIX}DATABASE_URL": database_url,
        f"{PREFIX}REDIS_URL": redis_url,
        f"{PREFIX}LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-P", "-m", "milepost", "api", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=Path.home(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ApiDidNotStart("the API of the benchmark did not start")
            time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_S)
