"""The lock of a directory, when processes only ask whether it is locked."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from milepost.embedded.datadir import DirectoryLock, is_locked


def test_two_that_ask_are_no_holder(tmp_path: Path) -> None:
    """While one process asks whether a directory is locked, another that asks does not see the first one's lock."""
    DirectoryLock.acquire(tmp_path).release()
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert not is_locked(tmp_path)
    lock = DirectoryLock.acquire(tmp_path)
    assert is_locked(tmp_path)
    lock.release()


def test_a_lock_whose_note_finds_no_room_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the lock is refused and released: the next try must not find that we have it ourselves."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            DirectoryLock.acquire(tmp_path)
    DirectoryLock.acquire(tmp_path).release()
