"""A little chaos: faults under load, and every amount is right."""

from __future__ import annotations

from pathlib import Path

from tests.faults.chaos_command import chaos

# In so short a time it takes the power from both servers, kills Postgres, fills a disk, and kills the API, the drains'
# worker and drains, one of them at a step.
SEED, MINUTES = "267402", "0.6"


def test_faults_under_load_lose_double_and_mistake_nothing(tmp_path: Path) -> None:
    """Everything acknowledged is applied once, all amounts and closes are the oracle's, and all checks looked."""
    ran = chaos(tmp_path, "--seed", SEED, "--minutes", MINUTES)
    assert ran.found["wrong"] == []
    assert ran.status == 0
    assert sum(ran.found["faults"].values()) >= 5
    counts = ran.found["counts"]
    assert counts["standing"] > 1_000
    wanted = ("duplicates_sent", "dead", "windows", "missing in windows", "dated ahead and counted")
    assert [name for name in wanted if not counts[name]] == []
    assert [name for name, looked_at in ran.found["checks"].items() if not looked_at] == []
