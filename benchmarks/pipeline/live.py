"""A whole Milepost on the servers of a benchmark: API, workers and beat, as `milepost up` runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import MilepostError
from core.settings import PREFIX, Settings
from milepost.embedded.datadir import DataDir
from milepost.embedded.process import end, spawn
from milepost.embedded.programs import free_port
from milepost.embedded.supervisor import answers

_KEY = "mp_key_of_the_bench_only_0"
_PATIENCE_S = 60.0
_END_S = 20.0
_POLL_S = 0.1


class DidNotStart(MilepostError):
    """The Milepost of a benchmark ended, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Live:
    """A running Milepost: the address of its API, a key, and the ids of its processes by their names."""

    url: str
    key: str = field(repr=False)
    pids: Mapping[str, int]


@contextmanager
def milepost_up(settings: Settings) -> Iterator[Live]:
    """`milepost up` with the servers, shards and batches of `settings`, stopped when the block ends."""
    assert settings.database_url is not None, "the bench names both servers"
    assert settings.redis_url is not None, "the bench names both servers"
    with tempfile.TemporaryDirectory(prefix="milepost-bench-up-") as folder:
        port = free_port()
        overrides = {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "DATA_DIR": folder,
            "BOOTSTRAP_KEY": _KEY,
            "PORT": str(port),
            "SHARDS": str(settings.shards),
            "BATCH_EVENTS": str(settings.batch_events),
        }
        environment = os.environ | {PREFIX + name: value for name, value in overrides.items()}
        log = Path(folder, "output.log")
        with log.open("wb") as output:
            command = [sys.executable, "-P", "-m", "milepost", "up"]
            process = spawn(
                command, death_signal=signal.SIGTERM, cwd=Path(folder), output=output, environment=environment
            )
        try:
            yield _await(process, DataDir(Path(folder)), f"http://127.0.0.1:{port}", log)
        finally:
            end(process, grace_s=_END_S)


def _await(process: subprocess.Popen[bytes], data: DataDir, url: str, log: Path) -> Live:
    """Wait until the API answers and every process has been started."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        servers = data.servers()
        if servers is not None and servers.is_prepared and all(servers.child_pids.values()) and answers(url):
            return Live(url, _KEY, servers.child_pids)
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise DidNotStart(
                f"the Milepost of the benchmark did not start: {lines[-1] if lines else 'it printed nothing'}"
            )
        time.sleep(_POLL_S)
