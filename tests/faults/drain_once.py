"""`python -m tests.faults.drain_once`: one drain of shard 0 in a process of its own, which may die on the way."""

from __future__ import annotations

from core.settings import load_settings
from worker.context import WorkerContext
from worker.run import log_as_json

if __name__ == "__main__":
    log_as_json("ERROR")
    WorkerContext(load_settings()).shard_drain(0).drain()
