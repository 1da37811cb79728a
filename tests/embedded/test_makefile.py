"""`make setup` after one that was interrupted; the interpreter is a stand-in that records its arguments."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Next to the Makefile: makes a .venv whose python records its arguments. With the file `fails` there, making it fails;
# with `installing-fails`, installing in it does.
INTERPRETER = """#!/bin/sh
[ "$1" = -c ] && exit 0
echo "$*" >> made
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$*" >> asked\\ntest "$1" = -m || test ! -e installing-fails\\n' > .venv/bin/python
chmod +x .venv/bin/python
test ! -e fails
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "interpreter").write_text(INTERPRETER)
    (tmp_path / "interpreter").chmod(0o755)
    return tmp_path


def setup(project: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "setup", "PYTHON=./interpreter"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)


def is_set_up(project: Path) -> bool:
    asked = (project / "asked").read_text() if (project / "asked").exists() else ""
    return "scripts/install.py -e .[dev] -c constraints.txt" in asked and (project / ".venv" / ".installed").exists()


def test_a_venv_without_pip_is_made_anew(project: Path) -> None:
    """What an interrupted `python -m venv` leaves, an interpreter without pip, does not stop the next setup."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True, timeout=60)
    done = setup(project)
    assert done.returncode == 0, done.stderr
    assert is_set_up(project)


def test_a_venv_that_was_never_finished_is_made_anew(project: Path) -> None:
    """A .venv whose making failed is made again, although its pip already works."""
    (project / "fails").touch()
    assert setup(project).returncode != 0
    assert not is_set_up(project)
    (project / "fails").unlink()
    assert setup(project).returncode == 0
    assert is_set_up(project)
    assert (project / "made").read_text() == "-m venv .venv\n" * 2


def test_a_venv_whose_first_install_failed_is_made_anew(project: Path) -> None:
    """A new .venv in which an install was interrupted is made again."""
    (project / "installing-fails").touch()
    assert setup(project).returncode != 0
    assert not is_set_up(project)
    (project / "installing-fails").unlink()
    assert setup(project).returncode == 0
    assert is_set_up(project)
    assert (project / "made").read_text() == "-m venv .venv\n" * 2


def test_a_good_venv_is_kept(project: Path) -> None:
    """When what is to be installed changes, it is installed in the .venv that is there."""
    assert setup(project).returncode == 0
    (project / ".venv" / "mine").touch()
    (project / ".venv" / ".installed").unlink()
    assert setup(project).returncode == 0
    assert is_set_up(project)
    assert (project / ".venv" / "mine").exists()
