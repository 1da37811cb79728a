"""The user that the servers run as: root, a plain user, a folder that only its owner can enter, no namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.embedded import run_as
from milepost.embedded.errors import DirectoryUnusable
from milepost.embedded.launch import NAMESPACE, OTHER_ID, OTHER_USER
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.run_as import choose_run_as

QUICK = {"fsync": "off"}
NOBODY = ["setpriv", f"--reuid={OTHER_ID}", f"--regid={OTHER_ID}", "--clear-groups"]
LOOKS_PLAIN = ["unshare", "--user", f"--map-user={OTHER_ID}", f"--map-group={OTHER_ID}"]
START_BOTH = """
import os, sys
from pathlib import Path
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey
place = Path(sys.argv[1])
for _ in range(2):
    postgres = EmbeddedPostgres.start(place / "pg", settings={"fsync": "off"})
    valkey = EmbeddedValkey.start(place / "valkey")
    valkey.stop()
    postgres.stop()
print("both started twice as", os.geteuid())
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def start_both(place: Path, *, through: list[str]) -> subprocess.CompletedProcess[str]:
    command = [*through, sys.executable, "-c", START_BOTH, str(place)]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def test_starts_as_we_are(place: Path) -> None:
    """Whoever runs the tests can start both servers in a folder that nobody else can enter."""
    place.chmod(0o700)
    done = start_both(place, through=[])
    assert done.stdout == f"both started twice as {os.geteuid()}\n", done.stderr


@needs_root
def test_starts_for_one_who_is_not_root(place: Path) -> None:
    """A process that is not root, and cannot become it, can start both servers."""
    if not shutil.which("unshare") or subprocess.run([*LOOKS_PLAIN, "true"], check=False).returncode != 0:
        pytest.skip("user namespaces are not allowed here")
    done = start_both(place, through=LOOKS_PLAIN)
    assert done.stdout == f"both started twice as {OTHER_ID}\n", done.stderr


@needs_root
def test_starts_as_a_plain_user(place: Path) -> None:
    """A real other user can start both servers in a folder of its own."""
    can_import = [*NOBODY, sys.executable, "-c", "import psycopg, redis, milepost.embedded.postgres"]
    if not shutil.which("setpriv") or subprocess.run(can_import, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"another user cannot run {sys.executable}")
    os.chown(place, OTHER_ID, OTHER_ID)
    done = start_both(place, through=NOBODY)
    assert done.stdout == f"both started twice as {OTHER_ID}\n", done.stderr


@needs_root
def test_root_needs_no_open_folders(place: Path) -> None:
    """With namespaces, all files stay root's own, and a closed parent folder stays closed."""
    server = EmbeddedPostgres.start(place / "pg", settings=QUICK)
    server.stop()
    if choose_run_as(Path("/bin/true")) != NAMESPACE:
        pytest.skip("user namespaces are not allowed here")
    owners = {path.stat().st_uid for path in (place / "pg").rglob("*")}
    assert owners == {0}


@needs_root
def test_without_namespaces_root_becomes_another_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces are forbidden the data belongs to the other user, who may pass only through our folders."""
    monkeypatch.setattr(run_as, "_can_run", lambda _program, way: way != NAMESPACE)
    place.chmod(0o755)
    (place / "ours").mkdir(mode=0o700)
    require_reachable()
    server = EmbeddedPostgres.start(place / "ours" / "pg", settings=QUICK, home=place / "ours")
    try:
        assert (Path("/proc") / str(server.pid)).stat().st_uid == OTHER_ID
        modes = {name: oct((place / name).stat().st_mode & 0o777) for name in ("ours", "ours/pg", "ours/pg/data")}
        assert modes == {"ours": "0o710", "ours/pg": "0o710", "ours/pg/data": "0o700"}
    finally:
        server.stop()
    monkeypatch.undo()
    EmbeddedPostgres.start(place / "ours" / "pg", settings=QUICK).stop()


@needs_root
def test_without_namespaces_the_folder_in_the_way_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of somebody else's that the other user cannot enter is named, and not opened."""
    monkeypatch.setattr(run_as, "_can_run", lambda _program, _way: False)
    place.chmod(0o700)
    require_reachable()
    with pytest.raises(DirectoryUnusable, match=f"cannot enter {place}:"):
        EmbeddedPostgres.start(place / "pg", settings=QUICK)
    assert place.stat().st_mode & 0o777 == 0o700


def require_reachable() -> None:
    from milepost.embedded.programs import postgres_program

    program = postgres_program("postgres", 18)
    try:
        run_as.require_passable(program)
    except DirectoryUnusable as error:
        pytest.skip(str(error))
    assert choose_run_as(program) == OTHER_USER
