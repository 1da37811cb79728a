"""`milepost api --processes`: several processes serve one address, count together, and end with the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from milepost.embedded.supervisor import answers
from tests.conftest import KEY
from tests.serving import api_process

Eventually = Callable[[Callable[[], object], float], bool]
PATIENCE_S = 60
PROCESSES = 2


@pytest.fixture
def served(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address, and the process that was started."""
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_LEVEL": "ERROR"}
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with api_process("--processes", str(PROCESSES), **settings) as (url, process):
        yield url, process
        process.kill()


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _counted(url: str) -> float:
    text = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    found = [
        line for line in text.splitlines() if line.startswith("milepost_http_requests_total") and '"/goals"' in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in found)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_they_serve_and_count_together(
    served: tuple[str, subprocess.Popen[bytes]], eventually: Eventually, tmp_path: Path
) -> None:
    """A process that dies is started again; and when the first gets a signal to end, all end and leave nothing."""
    url, process = served
    headers = {"Authorization": f"Bearer {KEY}"}
    for number in range(1, 9):
        # A new connection each time, so that either process may get it.
        assert httpx2.get(f"{url}/goals", headers=headers).status_code == 200
        assert _counted(url) == number
    children = _children(process.pid)
    assert len(children) >= PROCESSES
    os.kill(children[-1], signal.SIGKILL)
    assert eventually(lambda: len(set(_children(process.pid)) - {children[-1]}) == len(children), PATIENCE_S)
    assert eventually(lambda: answers(url), PATIENCE_S)
    process.terminate()
    process.wait(PATIENCE_S)
    assert eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), PATIENCE_S)
    assert list(tmp_path.glob("milepost-metrics-*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_they_end_with_a_first_process_that_is_killed(
    served: tuple[str, subprocess.Popen[bytes]], eventually: Eventually
) -> None:
    """Else they would keep the address for ever."""
    url, process = served
    children = _children(process.pid)
    process.kill()
    process.wait(PATIENCE_S)
    assert eventually(lambda: not answers(url), PATIENCE_S)
    assert eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), PATIENCE_S)
