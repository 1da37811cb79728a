"""The lock of the users of a data directory, and how two supervisors leave each other alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from milepost.embedded.child import MARKER, WHILE_USED
from milepost.embedded.orphans import find_commands
from milepost.embedded.users import IdleTimer, UsersLock
from tests.embedded.test_up import milepost

Eventually = Callable[[Callable[[], object], float], bool]
# A program that ignores SIGCHLD and blocks TERM replaces itself by another one, which inherits that.
WRAPPER = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_servers_in_use_do_not_expire(tmp_path: Path) -> None:
    """With any number of users the timer does not expire; after the last one it does, and no user gets the lock."""
    idle_timer = IdleTimer(tmp_path, 0)
    first, second = UsersLock.try_share(tmp_path), UsersLock.try_share(tmp_path)
    assert first is not None
    assert second is not None
    assert not idle_timer.has_expired()
    first.release()
    first.release()
    assert not idle_timer.has_expired()
    second.release()
    assert idle_timer.has_expired()
    assert UsersLock.try_share(tmp_path) is None
    idle_timer.close()
    assert UsersLock.try_share(tmp_path) is not None


def test_the_timer_expires_after_the_time_to_linger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without users for less than that time it does not expire; a user in between starts the time again."""
    now = [100.0]
    monkeypatch.setattr("milepost.embedded.users.time.monotonic", lambda: now[0])
    idle_timer = IdleTimer(tmp_path, 10)
    assert not idle_timer.has_expired()
    now[0] = 109.0
    assert not idle_timer.has_expired()
    user = UsersLock.try_share(tmp_path)
    assert user is not None
    now[0] = 111.0
    assert not idle_timer.has_expired()
    user.release()
    assert not idle_timer.has_expired()
    now[0] = 120.9
    assert not idle_timer.has_expired()
    now[0] = 121.0
    assert idle_timer.has_expired()
    idle_timer.close()


def test_without_a_time_it_never_expires(tmp_path: Path) -> None:
    """A supervisor that a person started does not check for users, and leaves no file for it."""
    assert not IdleTimer(tmp_path, None).has_expired()
    assert list(tmp_path.iterdir()) == []


def test_a_fork_uses_them_too(tmp_path: Path) -> None:
    """A fork of a user keeps the servers in use after the user has released them; a started program does not."""
    user, idle_timer = UsersLock.try_share(tmp_path), IdleTimer(tmp_path, 0)
    assert user is not None
    assert user._descriptor is not None
    as_in_a_fork = os.dup(user._descriptor)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as program:
        user.release()
        assert not idle_timer.has_expired()
        os.close(as_in_a_fork)
        assert idle_timer.has_expired()
        assert program.poll() is None
    idle_timer.close()


def test_one_that_waits_for_its_turn_is_spared(tmp_path: Path, eventually: Eventually) -> None:
    """Ending what an earlier run left does not end a supervisor that waits in the same directory."""
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()", *MARKER]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen([*waits, "api"], cwd=tmp_path, stdin=pipe) as child,
        subprocess.Popen([*waits, "up", WHILE_USED], cwd=tmp_path, stdin=pipe) as waiting,
    ):
        assert eventually(lambda: set(find_commands(tmp_path, MARKER)) == {child.pid, waiting.pid}, 10)
        assert list(find_commands(tmp_path, MARKER, without=WHILE_USED)) == [child.pid]


def test_inherited_signal_settings_are_reset(place: Path) -> None:
    """Whatever an application does with its signals, the supervisor notices that children end, and TERM ends it."""
    command = milepost("up", WHILE_USED, "--port", "0", "--data-dir", str(place / "data"))
    with subprocess.Popen([sys.executable, "-c", WRAPPER, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.endswith("starting api, workers and beat\n") for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().endswith("stopping\n")
    assert process.returncode == 0
