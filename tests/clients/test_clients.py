"""Two generators take the OpenAPI text without a warning, and programs do their work with what they make of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import KEY
from tests.serving import api_process

HERE = Path(__file__).parent
ENVIRONMENT = Path(os.environ["CLIENTS"])
PYTHON = ENVIRONMENT / "bin" / "python"
NODE_MODULES = ENVIRONMENT / "node" / "node_modules"


@pytest.fixture
def url(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of `milepost api` with the servers of the test."""
    with api_process(DATABASE_URL=database_url, REDIS_URL=redis_url, DATA_DIR=str(tmp_path / "data")) as (address, _):
        yield address


@pytest.fixture
def text(url: str, tmp_path: Path) -> Path:
    """The file of the OpenAPI text, as anybody gets it."""
    file = tmp_path / "openapi.json"
    file.write_bytes(httpx2.get(f"{url}/openapi.json").content)
    return file


def run(folder: Path, *command: str | Path) -> str:
    """What a command writes; it must succeed. It finds the tools that are installed beside it."""
    environment = os.environ | {"PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_python_client(url: str, text: Path, tmp_path: Path) -> None:
    """openapi-python-client says no more than that it generates, mypy finds the program right, and it works."""
    config = HERE / "python" / "config.yml"
    options = ("--meta", "none", "--config", config, "--fail-on-warning", "--output-path", tmp_path / "generated")
    said = run(tmp_path, ENVIRONMENT / "bin" / "openapi-python-client", "generate", "--path", text, *options)
    assert re.fullmatch(r"Generating \S*generated\n", said), said
    program = shutil.copy(HERE / "python" / "program.py", tmp_path)
    run(tmp_path, PYTHON, "-m", "mypy", "--strict", "--follow-imports=silent", program)
    assert run(tmp_path, PYTHON, program, url, KEY) == "the Python client works\n"


def test_the_typescript_client(url: str, text: Path, tmp_path: Path) -> None:
    """openapi-typescript says no more than what it writes, tsc finds the program right, and it works."""
    for name in ("program.ts", "tsconfig.json", "package.json"):
        shutil.copy(HERE / "typescript" / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    tools = NODE_MODULES / ".bin"
    said = run(tmp_path, tools / "openapi-typescript", text, "--output", "schema.ts")
    assert re.fullmatch(r"✨ openapi-typescript [\d.]+\n🚀 \S+ → schema.ts \[[\d.]+m?s\]\n", said), said
    assert run(tmp_path, tools / "tsc", "--project", ".") == ""
    assert run(tmp_path, "node", "made/program.js", url, KEY) == "the TypeScript client works\n"
