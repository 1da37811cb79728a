"""How the sync client is made: `async` and `await` are taken out, names are replaced, and the result is formatted."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parents[2]
CLIENT, SYNC = ROOT / "milepost" / "client", ROOT / "milepost" / "sync"
# What awaits; the other modules of the client are shared by both.
ASYNC_MODULES = ("__init__", "goals", "http_client", "manager", "resource", "rest")
_NOTE = "# Generated from milepost/client by `make sync-client`; change it there.\n"
_NAMES = {"AsyncRetrying": "Retrying"}
_IMPORTED = re.compile(r"\bmilepost\.client\.(goals|http_client|manager|resource|rest)\b")


def generate(folder: Path) -> None:
    """Write the blocking form of every module that awaits into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = folder / "sources"
    sources.mkdir()
    for module in ASYNC_MODULES:
        shutil.copy(CLIENT / f"{module}.py", sources / f"{module}.py")
    rule = unasync.Rule(f"{sources}/", f"{folder}/", additional_replacements=_NAMES)
    unasync.unasync_files([str(file) for file in sources.glob("*.py")], [rule])
    shutil.rmtree(sources)
    for file in folder.glob("*.py"):
        text = _IMPORTED.sub(r"milepost.sync.\1", file.read_text("utf-8"))
        file.write_text(_NOTE + text, "utf-8")
    config = str(ROOT / "pyproject.toml")
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--quiet", "--fix", "--config", config, str(folder)], check=True)
    subprocess.run([*ruff, "format", "--quiet", "--config", config, str(folder)], check=True)
