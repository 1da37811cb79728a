"""`python -m tests.faults.deliver_once`: delivers what is due in a process of its own, which has crash points."""

from __future__ import annotations

from core.settings import load_settings
from tests.chaos.crash_points import use_crashing_deliverer
from worker.app import log_as_json
from worker.context import WorkerContext

if __name__ == "__main__":
    log_as_json("ERROR")
    use_crashing_deliverer()
    WorkerContext(load_settings()).deliverer.work_through()
