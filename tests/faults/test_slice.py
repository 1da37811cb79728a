"""A little chaos: faults under load, and every amount is right."""

from __future__ import annotations

from pathlib import Path

from tests.faults.chaos_command import chaos

# In so short a time it takes the power from both servers, stops Postgres, kills the drains' worker, a drain at a step
# and the deliverer, and lets the receiver cut its answers.
SEED, MINUTES = "1315076", "0.6"


def test_faults_under_load_lose_double_and_mistake_nothing(tmp_path: Path) -> None:
    """Everything acknowledged is applied once, all amounts are the oracle's, every message came; all checks looked."""
    ran = chaos(tmp_path, "--seed", SEED, "--minutes", MINUTES)
    assert ran.found["wrong"] == []
    assert ran.status == 0
    assert sum(ran.found["faults"].values()) >= 5
    counts = ran.found["counts"]
    assert counts["standing"] > 1_000
    wanted = ["duplicates_sent", "dead", "windows", "missing in windows", "dated ahead and counted"]
    wanted += ["messages received", "historical messages"]
    assert [name for name in wanted if not counts[name]] == []
    assert [name for name, looked_at in ran.found["checks"].items() if not looked_at] == []
