"""`python -m tests.faults.drain_once`: one drain of shard 0 in a process of its own, which has crash points."""

from __future__ import annotations

from core.settings import load_settings
from tests.chaos.crash_points import CrashingDrain, use_drain
from worker.app import log_as_json
from worker.context import WorkerContext

if __name__ == "__main__":
    log_as_json("ERROR")
    use_drain(CrashingDrain)
    WorkerContext(load_settings()).shard_drain(0).drain()
