"""Every target of the Makefile is run: the short ones here, the others in their smallest form, and the rest by CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sync_client.generate import SYNC

ROOT = Path(__file__).parents[2]
RULES = dict(
    re.findall(r"^([a-z-]+):.* ## .*\n((?:\t.*\n|(?:ifdef|else|endif).*\n)*)", (ROOT / "Makefile").read_text(), re.M)
)
BY_CI = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"^make (.*)", (ROOT / ".ci" / "run").read_text(), re.M))))
# Run by tests of their own, below and in test_makefile.py.
ONE_BY_ONE = {"clean", "help", "properties", "setup", "sync-client"}
WITH_ARGUMENTS = sorted(
    name for name, recipe in RULES.items() if "$(ARGS)" in recipe and name not in BY_CI | ONE_BY_ONE
)
MODULES = {
    "bench": "benchmarks",
    "bench-banks": "benchmarks.banks",
    "bench-days": "benchmarks.days",
    "bench-manager": "benchmarks.manager",
    "bench-worst": "benchmarks.worst",
    "chaos": "tests.chaos",
}

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here"),
    pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the targets need .venv"),
]


def make(folder: Path, *arguments: str) -> str:
    """The output of make in that folder, for which setup is skipped."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "-o", ".venv/.installed", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The Makefile and what `make sync-client` reads, with our .venv."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("milepost", "tests/sync_client"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def test_every_target_is_run_somewhere() -> None:
    """A new target takes arguments, and so is run below with --help, or has a test of its own, or CI runs it."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony is not None
    assert set(phony[1].split()) == set(RULES) == BY_CI | ONE_BY_ONE | set(WITH_ARGUMENTS)


def test_a_target_runs_the_program_of_its_name() -> None:
    """Of chaos and the benchmarks, which the product does not have."""
    for target, module in MODULES.items():
        assert RULES[target] == f"\t@exec .venv/bin/python -m {module} $(ARGS)\n", target


@pytest.mark.parametrize("target", WITH_ARGUMENTS)
def test_a_target_that_takes_arguments_starts(target: str) -> None:
    """The program behind it is there, and says what arguments it takes."""
    shown = make(ROOT, target, "ARGS=--help")
    assert "Usage" in shown or "usage" in shown
    assert "--help" in shown


def test_properties_are_found() -> None:
    """Tests with examples are run by `make properties`, others are not."""
    found = make(ROOT, "properties", "ARGS=-n0 --collect-only tests/unit/goals/test_allotment.py")
    assert re.search(r"[1-9]\d*/\d+ tests collected \([1-9]\d* deselected\)", found), found


def test_help_lists_the_targets() -> None:
    """`make` alone lists each target."""
    assert [line.split()[1] for line in make(ROOT).splitlines()] == list(RULES)


def test_the_sync_client_is_generated(copy: Path) -> None:
    """`make sync-client` writes each file of milepost/sync anew, as it is."""
    for made in SYNC.glob("*.py"):
        (copy / made.relative_to(ROOT)).write_text("")
    make(copy, "sync-client")
    for made in SYNC.glob("*.py"):
        assert (copy / made.relative_to(ROOT)).read_text() == made.read_text()


def test_clean_leaves_the_sources(copy: Path) -> None:
    """`make clean` removes .venv and what Python keeps, and no source."""
    (copy / "milepost" / "__pycache__").mkdir()
    sources = set(copy.rglob("*.py"))
    make(copy, "clean")
    assert not (copy / ".venv").exists()
    assert list(copy.rglob("__pycache__")) == []
    assert set(copy.rglob("*.py")) == sources
