"""The lock of a directory, as those see it who only ask."""

from __future__ import annotations

import fcntl
from pathlib import Path

from milepost.embedded.lock import DirectoryLock, is_held


def test_two_that_ask_are_no_holder(tmp_path: Path) -> None:
    """While one looks whether a directory's lock is held, another that looks does not take it for the holder."""
    DirectoryLock.acquire(tmp_path).release()
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert not is_held(tmp_path)
    lock = DirectoryLock.acquire(tmp_path)
    assert is_held(tmp_path)
    lock.release()
