"""The command lines of the source tree, which `make` runs: chaos and the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    "bench": "benchmarks",
    "bench-banks": "benchmarks.banks",
    "bench-days": "benchmarks.days",
    "bench-manager": "benchmarks.manager",
    "bench-worst": "benchmarks.worst",
    "chaos": "tests.chaos",
}


@pytest.mark.parametrize("target", MODULES)
def test_every_command_of_the_source_tree_explains_itself(target: str) -> None:
    """--help ends well, and the Makefile has a target that runs the same module."""
    command = [sys.executable, "-m", MODULES[target], "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "Usage" in shown.stdout
    recipe = (ROOT / "Makefile").read_text().partition(f"\n{target}: ")[2].splitlines()[1]
    assert recipe == f"\t@exec .venv/bin/python -m {MODULES[target]} $(ARGS)"
