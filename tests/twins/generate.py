"""How a twin is made: `async` and `await` are taken out, names are replaced, and the result is formatted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parents[2]
FACE, SYNC = ROOT / "milepost" / "face", ROOT / "milepost" / "sync"
_NOTE = "# Made from milepost/face by `make twins`; change it there.\n"
_NAMES = {"face": "sync", "AsyncRetrying": "Retrying"}


def generate(folder: Path) -> None:
    """Write the twins of all files of milepost/face into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = folder / "sources"
    sources.mkdir()
    for file in FACE.glob("*.py"):
        shutil.copy(file, sources / file.name)
    rule = unasync.Rule(f"{sources}/", f"{folder}/", additional_replacements=_NAMES)
    unasync.unasync_files([str(file) for file in sources.glob("*.py")], [rule])
    shutil.rmtree(sources)
    for file in folder.glob("*.py"):
        file.write_text(_NOTE + file.read_text("utf-8"), "utf-8")
    config = str(ROOT / "pyproject.toml")
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--quiet", "--fix", "--config", config, str(folder)], check=True)
    subprocess.run([*ruff, "format", "--quiet", "--config", config, str(folder)], check=True)
