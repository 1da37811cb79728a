"""How the sync client is made: `async` and `await` are taken out, names are replaced, and the result is formatted.

A record has nothing that awaits. It stays one class: the generated module imports it instead of having its own.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from textwrap import indent

import unasync

ROOT = Path(__file__).resolve().parents[2]
CLIENT, SYNC = ROOT / "milepost" / "client", ROOT / "milepost" / "sync"
# What awaits, besides the resources; the other modules of the client are shared by both.
_ASYNC_MODULES = frozenset({"__init__", "http_client", "interface", "manager", "resource", "rest"})
_NOTE = "# Generated from milepost/client by `make sync-client`; change it there.\n"
_NAMES = {"AsyncRetrying": "Retrying", "asyncio": "time"}


def generate(folder: Path) -> None:
    """Write the blocking form of every module that awaits into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = folder / "sources"
    sources.mkdir()
    texts = {file.stem: file.read_text("utf-8") for file in CLIENT.glob("*.py")}
    for module, text in with_shared_records(texts).items():
        (sources / f"{module}.py").write_text(text, "utf-8")
    rule = unasync.Rule(f"{sources}/", f"{folder}/", additional_replacements=_NAMES)
    unasync.unasync_files([str(file) for file in sources.glob("*.py")], [rule])
    shutil.rmtree(sources)
    for file in folder.glob("*.py"):
        file.write_text(_NOTE + file.read_text("utf-8"), "utf-8")
    config = str(ROOT / "pyproject.toml")
    ruff = [sys.executable, "-m", "ruff"]
    # A coroutine has no `yield from`.
    fix = [*ruff, "check", "--quiet", "--fix", "--ignore", "UP028", "--config", config, str(folder)]
    subprocess.run(fix, check=True)
    subprocess.run([*ruff, "format", "--quiet", "--config", config, str(folder)], check=True)


def with_shared_records(texts: Mapping[str, str]) -> dict[str, str]:
    """The modules that await, by name: without their records, and importing each name from where it will be."""
    trees = {module: ast.parse(text) for module, text in texts.items()}
    records = _deriving_from("Record", trees)
    twins = _ASYNC_MODULES | {module for module, names in _deriving_from("Resource", trees).items() if names}
    return {module: _edited(texts[module], trees[module], module, records, twins) for module in twins & set(texts)}


def _deriving_from(base: str, trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The classes of each module that derive from a class, directly or not."""
    found: dict[str, set[str]] = {module: set() for module in trees}
    known, before = {base}, set[str]()
    while known != before:
        before = set(known)
        for module, tree in trees.items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and known & {ast.unparse(each) for each in node.bases}:
                    found[module].add(node.name)
                    known.add(node.name)
    return found


def _edited(text: str, tree: ast.Module, module: str, records: Mapping[str, set[str]], twins: Collection[str]) -> str:
    lines = text.splitlines(keepends=True)
    imports = [node.lineno for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    # (first line, last line, what comes in their place)
    edits = [(first, first - 1, _import_line("client", module, records[module])) for first in imports[-1:]]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in records[module]:
            edits.append((node.lineno, node.end_lineno or 0, ""))
        elif isinstance(node, ast.ImportFrom) and node.module in {f"milepost.client.{twin}" for twin in twins}:
            source, names = node.module.rpartition(".")[2], {each.name for each in node.names}
            shared = _import_line("client", source, names & records[source])
            own = _import_line("sync", source, names - records[source])
            edits.append((node.lineno, node.end_lineno or 0, indent(shared + own, " " * node.col_offset)))
    for first, last, instead in sorted(edits, reverse=True):
        lines[first - 1 : last] = [instead]
    return "".join(lines)


def _import_line(package: str, module: str, names: Collection[str]) -> str:
    return f"from milepost.{package}.{module} import {', '.join(sorted(names))}\n" if names else ""
