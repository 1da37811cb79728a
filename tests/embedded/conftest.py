"""Folders for real servers, and the processes that work in them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOMY_BYTES = 1024**3


@pytest.fixture
def place() -> Iterator[Path]:
    """A private folder on a fast file system; processes that still work in it at the end are killed."""
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOMY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="milepost-test-", dir=memory if is_roomy else None))
    try:
        yield folder
    finally:
        for pid in _workers_in(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def processes_in() -> Callable[[Path], list[int]]:
    """Finds the living processes whose working directory is in a folder."""
    return _workers_in


def _workers_in(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # A zombie has no working directory any more.
            with suppress(OSError):
                if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                    found.append(int(entry.name))
    return found
