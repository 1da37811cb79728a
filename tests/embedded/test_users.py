"""The lock of the users of a data directory, and what else keeps two supervisors out of each other's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from milepost.embedded.autostart import Disuse, UsersLock
from milepost.embedded.child import MARKER, WHILE_USED
from milepost.embedded.orphans import find_commands
from tests.embedded.test_up import milepost

Eventually = Callable[[Callable[[], object], float], bool]
# A program that ignores the ends of its children and blocks TERM turns into another one, which inherits that.
DEAF = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_what_is_used_is_not_given_up(tmp_path: Path) -> None:
    """With any number of users disuse does not come; after the last of them it does, and then nobody comes in."""
    disuse = Disuse(tmp_path, 0)
    first, second = UsersLock.try_share(tmp_path), UsersLock.try_share(tmp_path)
    assert first is not None
    assert second is not None
    assert not disuse.has_come()
    first.release()
    first.release()
    assert not disuse.has_come()
    second.release()
    assert disuse.has_come()
    assert UsersLock.try_share(tmp_path) is None
    disuse.close()
    assert UsersLock.try_share(tmp_path) is not None


def test_disuse_takes_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may be there for less than the time to linger; a user in between begins it anew."""
    now = [100.0]
    monkeypatch.setattr("milepost.embedded.autostart.time.monotonic", lambda: now[0])
    disuse = Disuse(tmp_path, 10)
    assert not disuse.has_come()
    now[0] = 109.0
    assert not disuse.has_come()
    user = UsersLock.try_share(tmp_path)
    assert user is not None
    now[0] = 111.0
    assert not disuse.has_come()
    user.release()
    assert not disuse.has_come()
    now[0] = 120.9
    assert not disuse.has_come()
    now[0] = 121.0
    assert disuse.has_come()
    disuse.close()


def test_without_a_time_it_never_comes(tmp_path: Path) -> None:
    """Who was started by a person does not ask who uses the servers, and leaves no file for it."""
    assert not Disuse(tmp_path, None).has_come()
    assert list(tmp_path.iterdir()) == []


def test_a_fork_uses_them_too(tmp_path: Path) -> None:
    """Who has a user's open file keeps the servers when the user lets go; a program that was started does not."""
    user, disuse = UsersLock.try_share(tmp_path), Disuse(tmp_path, 0)
    assert user is not None
    assert user._descriptor is not None
    as_in_a_fork = os.dup(user._descriptor)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as program:
        user.release()
        assert not disuse.has_come()
        os.close(as_in_a_fork)
        assert disuse.has_come()
        assert program.poll() is None
    disuse.close()


def test_one_that_waits_for_its_turn_is_spared(tmp_path: Path, eventually: Eventually) -> None:
    """Ending what an earlier run left does not end a supervisor that stands by in the same directory."""
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()", *MARKER]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen([*waits, "api"], cwd=tmp_path, stdin=pipe) as child,
        subprocess.Popen([*waits, "up", WHILE_USED], cwd=tmp_path, stdin=pipe) as waiting,
    ):
        assert eventually(lambda: set(find_commands(tmp_path, MARKER)) == {child.pid, waiting.pid}, 10)
        assert list(find_commands(tmp_path, MARKER, without=WHILE_USED)) == [child.pid]


def test_one_born_deaf_hears_all_the_same(place: Path) -> None:
    """Whatever an application does with its signals, the supervisor sees its children end, and TERM ends it."""
    command = milepost("up", WHILE_USED, "--port", "0", "--data-dir", str(place / "data"))
    with subprocess.Popen([sys.executable, "-c", DEAF, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.endswith("starting api, workers and beat\n") for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().endswith("stopping\n")
    assert process.returncode == 0
