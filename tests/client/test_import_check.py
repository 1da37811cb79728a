"""An application with packages named like ours: the client works there, and what cannot says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from milepost.client import import_check
from tests.conftest import KEY

CLIENT = """
import asyncio, sys
import core, api
from milepost import Client, GoalStatus, GoalType, MilepostError, sync
assert core.OWN and api.OWN
url, key = sys.argv[1:]
with sync.Client(url, key) as client:
    goal = client.create_goal("user_123", "Trip", GoalType.SAVINGS, 5000.00)
    client.add_milestone(goal.id, 2500)
    client.update_goal(goal.id, current_amount=2500)
    print([milestone["amount"] for milestone in client.check_milestones(goal.id)])
async def main():
    async with Client(url, key) as client:
        print(GoalStatus((await client.update_goal(goal.id, status=GoalStatus.COMPLETED))["status"]).name)
asyncio.run(main())
"""
REFUSED = """
from milepost import easy_goals, add_goals, create_goal, sync
for name, act in {
    "easy_goals": easy_goals,
    "twin": sync.easy_goals,
    "function": lambda: create_goal("user_123", "Trip", "savings", 1),
    "add_goals": lambda: add_goals(None, object()),
}.items():
    try:
        act()
    except ImportError as refused:
        print(f"{name}: {refused}")
"""

MANAGER = """
import sys
from milepost import sync
with sync.easy_goals(database_url=sys.argv[1]) as manager:
    print(manager.list_goals())
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A folder with a `core` and an `api` of its own."""
    for name in ("core", "api"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWN = True\n")
    return tmp_path


def run(folder: Path, program: str, *arguments: str) -> str:
    """What a program prints that was started in a folder."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_works_beside_packages_of_our_names(server: str, application: Path) -> None:
    """Client, records and enumerations need nothing but `milepost`, in both the async and the sync interface."""
    assert run(application, CLIENT, server, KEY) == "[Exact('2500.00')]\nCOMPLETED\n"


def test_what_needs_our_packages_names_the_folder_in_the_way(application: Path) -> None:
    """The ImportError says which folder hides ours, and what to do."""
    lines = run(application, REFUSED).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["easy_goals", "twin", "function", "add_goals"]
    for line in lines:
        assert f"Milepost needs its own package `api`, but Python finds {application / 'api'} first." in line
        assert "milepost.Client" in line


def test_a_module_counts_as_well(application: Path) -> None:
    """A single file is in the way as a folder is; a folder without Python in it is not."""
    for own in ("core", "api"):
        (application / own / "__init__.py").unlink()
    (application / "core.py").write_text("")
    assert run(application, REFUSED).count(f"Python finds {application / 'core.py'} first.") == 4


def test_names_that_the_manager_does_not_need_are_free(application: Path, database_url: str) -> None:
    """An application's own `worker.py` and `schedules` are in nobody's way."""
    for own in ("core", "api"):
        (application / own / "__init__.py").unlink()
    (application / "worker.py").write_text("raise SystemExit('not this one')")
    (application / "schedules").mkdir()
    (application / "schedules" / "__init__.py").write_text("raise SystemExit('not this one')")
    assert run(application, MANAGER, database_url) == "[]\n"


def test_nothing_is_in_the_way_here() -> None:
    """All of our packages are found beside `milepost`, and are loaded."""
    assert import_check.load("core.errors").MilepostError is not None
