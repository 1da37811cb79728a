"""examples/produce.py and the programs in docs/producers.md: what they send arrives, and moves a goal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import make_app
from core.ingestion.apply import Applied
from core.settings import Settings
from core.stream.stream import EventStream
from tests.api.conftest import MakeKey
from tests.serving import serving

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "producers.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NODE = dict(re.findall(r"^```js\n// (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))

Environment = dict[str, str]


@pytest.fixture
def environment(settings: Settings, redis_url: str, new_key: MakeKey) -> Iterator[Environment]:
    """A running API, and the environment of the programs that use it and the stream."""
    with serving(make_app(settings)) as url:
        environment = {"API": url, "KEY": new_key("events:write"), "MILEPOST_REDIS_URL": redis_url}
        yield {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}


@pytest.fixture
def goal(api: TestClient, new_goal: Callable[..., str]) -> Callable[[], float]:
    """A goal that all of `savings_001` funds since yesterday; tells its amount."""
    goal_id = new_goal()
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    link = {"account_id": "savings_001", "allocation_percent": 100, "from": yesterday}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201

    def amount() -> float:
        found: float = api.get(f"/goals/{goal_id}").json()["current_amount"]
        return found

    return amount


def run(command: list[str], environment: Environment, folder: Path) -> str:
    """What a program prints; it must end well."""
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs(program: str) -> None:
    """Skip where a program is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def entries(stream: EventStream) -> int:
    """How many entries are on the stream."""
    return sum(status.length for status in stream.status({}))


def test_the_example_moves_a_goal(
    environment: Environment,
    goal: Callable[[], float],
    apply_stream: Callable[[], Applied],
    stream: EventStream,
    tmp_path: Path,
) -> None:
    """Two runs of examples/produce.py are two transactions; it prints the place of its entry."""
    command = [sys.executable, str(ROOT / "examples" / "produce.py"), "savings_001"]
    printed = [run([*command, amount, "USD"], environment, tmp_path) for amount in ("250.00", "-0.10")]
    assert stream.ends()[0] == printed[1].strip()
    assert apply_stream() == Applied(events=2, accounts_moved=1, goals_moved=1)
    assert goal() == 249.90


@pytest.mark.parametrize("count", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize(
    ("program", "blocks", "sent"), [("curl", [0], 1), ("redis-cli", [0, 1], 2), ("tr", [0, 2], 2)], ids=str
)
def test_the_shell_programs_move_a_goal(
    environment: Environment,
    goal: Callable[[], float],
    apply_stream: Callable[[], Applied],
    stream: EventStream,
    tmp_path: Path,
    program: str,
    blocks: list[int],
    sent: int,
    count: int,
) -> None:
    """The shell blocks of the page, as they are written; sent again the transaction counts once."""
    needs("curl")
    needs(program)
    script = "set -eu\n" + "".join(SHELL[block] for block in blocks)
    for _ in range(count):
        run(["sh", "-c", script], environment, tmp_path)
    assert entries(stream) == sent * count
    assert apply_stream().dead_letters == 0
    assert goal() == 250


@pytest.mark.parametrize("name", ["send.mjs", "xadd.mjs"])
def test_the_node_programs_move_a_goal(
    environment: Environment,
    goal: Callable[[], float],
    apply_stream: Callable[[], Applied],
    stream: EventStream,
    tmp_path: Path,
    name: str,
) -> None:
    """The Node.js blocks of the page, as they are written; sent again the transaction counts once."""
    needs("node")
    (tmp_path / name).write_text(NODE[name], encoding="utf-8")
    for _ in range(2):
        run(["node", name], environment, tmp_path)
    assert entries(stream) == 2
    assert apply_stream().dead_letters == 0
    assert goal() == 250


@pytest.mark.parametrize(("name", "changed"), [("send.mjs", "KEY"), ("xadd.mjs", "MILEPOST_REDIS_URL")])
def test_a_node_program_that_is_refused_says_so(
    environment: Environment, stream: EventStream, tmp_path: Path, name: str, changed: str
) -> None:
    """With a wrong key or password it ends with an error instead of going on, and nothing is on the stream."""
    needs("node")
    (tmp_path / name).write_text(NODE[name], encoding="utf-8")
    wrong = {"KEY": "wrong", "MILEPOST_REDIS_URL": re.sub(r"//.*@", "//:wrong@", environment["MILEPOST_REDIS_URL"])}
    done = subprocess.run(
        ["node", name],
        env=environment | {changed: wrong[changed]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert ("401" if changed == "KEY" else "WRONGPASS") in done.stderr
    assert entries(stream) == 0


def test_the_page_has_the_programs_that_are_tested() -> None:
    """No program of the page is left out here."""
    assert len(SHELL) == 3
    assert sorted(NODE) == ["send.mjs", "xadd.mjs"]
