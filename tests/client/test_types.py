"""The Python interface is typed: mypy, strict, sees every type that typed.py states and every mistake that it marks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TYPED = Path(__file__).with_name("typed.py")
MARK = re.compile(r"# error: (.+)$")
REPORT = re.compile(r"typed\.py:(\d+): error: .*  \[([a-z-]+)\]$", re.MULTILINE)


def test_a_type_checker_sees_the_interface() -> None:
    """No error but in the lines that are marked, and there just the codes that the mark names."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", str(TYPED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    lines = TYPED.read_text("utf-8").splitlines()
    marked = {number: set(found[1].split(", ")) for number, line in enumerate(lines, 1) if (found := MARK.search(line))}
    reported: dict[int, set[str]] = {}
    for number, code in REPORT.findall(done.stdout):
        reported.setdefault(int(number), set()).add(code)
    assert reported == marked, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    """A type checker looks into an installed package only if this file is there."""
    assert (ROOT / "milepost" / "py.typed").exists()
