"""A minute of chaos: faults under load, and every amount is right."""

from __future__ import annotations

from pathlib import Path

from tests.faults.chaos_command import chaos

# Its first minute takes the power from both servers, kills both, fills a disk, stops a drain and kills one at a step.
SEED = "2531"


def test_a_minute_of_faults_loses_doubles_and_mistakes_nothing(tmp_path: Path) -> None:
    """Everything acknowledged is applied once, all amounts and closes are the oracle's, and all checks looked."""
    ran = chaos(tmp_path, "--seed", SEED, "--minutes", "1")
    assert ran.found["wrong"] == []
    assert ran.status == 0
    assert sum(ran.found["faults"].values()) >= 5
    counts = ran.found["counts"]
    assert counts["standing"] > 1_000
    assert [name for name, count in counts.items() if not count] == []
    assert [name for name, looked_at in ran.found["checks"].items() if not looked_at] == []
