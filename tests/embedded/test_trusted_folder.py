"""A data directory that another user owns or may write, or with such a file in it, is refused by all that read it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from milepost.cli.program import COMMANDS, program
from milepost.embedded import trust
from milepost.embedded.datadir import DataDir, is_locked
from milepost.embedded.errors import DirectoryUnusable
from milepost.embedded.launch import OTHER_ID
from milepost.embedded.logs import bound_log
from milepost.embedded.process import open_log
from milepost.embedded.trust import Untrusted, read_trusted

STRANGER = 65533
PLANTED = "mp_planted-by-another-user-000000000000\n"
# Takes requests, a line each, to do something as a user, and answers with status and output. It forks: importing
# everything takes a second, and another user may not be able to import at all. {} in a request is the directory.
ASKED = """
import importlib, json, os, signal, sys
from milepost import sync
from milepost.cli import main
from milepost.cli.program import COMMANDS

# The clone may be in a folder that only root can enter.
for where in COMMANDS.values():
    importlib.import_module(where.partition(":")[0])

def run(call):
    if call[0] == "easy_goals":
        try:
            with sync.easy_goals(data_dir=call[1]) as manager:
                manager.list_goals(user_id="u1")
        except Exception as error:
            sys.exit(f"{type(error).__name__}: {error}")
    sys.argv = ["milepost", *call]
    main()

def ask(user, call):
    reader, writer = os.pipe()
    errors_reader, errors_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1), os.dup2(errors_writer, 2)
        # What is not refused, as `up`, would go on for ever.
        signal.alarm(30)
        if user is not None:
            os.setgroups([]), os.setresgid(user, user, user), os.setresuid(user, user, user)
        status = 0
        try:
            run(call)
        except SystemExit as end:
            status = end.code
            if isinstance(status, str):
                status = print(status, file=sys.stderr) or 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status or 0)
    os.close(writer), os.close(errors_writer)
    with open(reader) as out, open(errors_reader) as errors:
        said = out.read(), errors.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), *said

for line in sys.stdin:
    request = json.loads(line)
    if request["is_here"]:
        # What these calls import is there for all later ones.
        sys.stdout = sys.stderr = open(os.devnull, "w")
        try:
            run(request["call"])
        except SystemExit:
            pass
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    print(json.dumps(None if request["is_here"] else ask(request["user"], request["call"])), flush=True)
"""
# Every command with --data-dir, and what it needs to run.
READERS: dict[str, list[str]] = {
    "up": ["--port", "0"],
    "api": ["--port", "0"],
    "worker": ["--queues", "jobs"],
    "beat": [],
    "migrate": [],
    "status": [],
    "doctor": [],
    "replay": ["none.ndjson"],
    "verify": [],
    "run": ["snapshot"],
    "dead-letters list": [],
    "dead-letters show": ["0", "1-1"],
    "dead-letters replay": ["0", "1-1"],
    "dead-letters discard": ["0", "1-1", "--reason", "wrong"],
    "keys create": ["--scope", "admin"],
    "keys list": [],
    "keys revoke": ["k"],
    "tenants announce": ["default", "--at-close"],
    "tenants create": ["acme", "--time-zone", "UTC"],
    "tenants list": [],
    "webhooks add": ["teller"],
    "webhooks list": [],
    "webhooks rotate": ["whe_1"],
    "webhooks remove": ["whe_1"],
    "webhooks reseal": [],
    "messages attempts": ["ep_1"],
    "messages endpoints": [],
    "messages list": [],
    "messages ping": ["ep_1"],
    "messages recover": ["ep_1", "--since", "2026-03-01"],
    "messages resend": ["ep_1", "m_1"],
    "messages tail": [],
    "latency": [],
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
each_user = pytest.mark.parametrize(
    "user", [pytest.param(None, id="as-we-are"), pytest.param(OTHER_ID, id="plain", marks=needs_root)]
)


@dataclass
class Asked:
    """The process that takes the requests."""

    process: subprocess.Popen[str]

    def __call__(self, user: int | None, *call: str, is_here: bool = False) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"user": user, "call": call, "is_here": is_here}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    pipe = subprocess.PIPE
    command = [sys.executable, "-P", "-c", ASKED]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd="/") as process:
        asked = Asked(process)
        refused = tmp_path_factory.mktemp("refused")
        refused.chmod(0o777)
        asked(None, "easy_goals", str(refused), is_here=True)
        for command_line in (["up", "--port", "0"], ["status"], ["keys", "list"], ["doctor", "--json"]):
            asked(None, *command_line, "--data-dir", str(refused), is_here=True)
        yield asked
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def data(place: Path, user: int | None) -> DataDir:
    """A data directory as `milepost up` leaves it, of the user who is to ask."""
    place.chmod(0o755)
    return filled(place / "data", user)


def filled(path: Path, user: int | None = None) -> DataDir:
    data = DataDir(path).open()
    data.keep_key("mp_a_key_of_ours_that_is_long_enough")
    data.keep_secrets_key()
    (data.path / "servers.json").write_text("{}")
    (data.path / "servers.json").chmod(0o600)
    if user is not None:
        for each in (data.path, *data.path.rglob("*")):
            os.chown(each, user, user)
    return data


def give_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


def open_to_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWGRP)


def open_to_all(path: Path) -> None:
    path.chmod(0o1777 if path.is_dir() else 0o666)


def put_link(path: Path) -> None:
    """What it leads to is as it was, and of the same user."""
    owner = path.stat().st_uid
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"), target_is_directory=path.is_dir())
    os.chown(path, owner, -1, follow_symlinks=False)


def put_link_of_stranger(path: Path) -> None:
    put_link(path)
    give_away(path)


def plant(path: Path) -> None:
    path.unlink()
    path.write_text(PLANTED)
    path.chmod(0o644)
    give_away(path)


OWNER, MODE_GROUP, MODE_ALL, LINK = (
    "belongs to user 65533",
    "by its group (mode",
    "by every user (mode",
    "symbolic link",
)
Spoil = Callable[[Path], None]
FOLDER_FAULTS: list[Any] = [
    pytest.param(".", give_away, OWNER, id="folder-of-another", marks=needs_root),
    pytest.param(".", open_to_group, MODE_GROUP, id="folder-group-writable"),
    pytest.param(".", open_to_all, MODE_ALL, id="folder-writable-by-all"),
    pytest.param(".", put_link_of_stranger, OWNER, id="folder-link-of-another", marks=needs_root),
]
FILE_FAULTS: list[Any] = [
    pytest.param(name, spoil, said, id=f"{name}-{title}", marks=marks)
    for name in ("key", "servers.json", "secrets_key")
    for title, spoil, said, marks in (
        ("of-another", give_away, OWNER, needs_root),
        ("planted", plant, OWNER, needs_root),
        ("group-writable", open_to_group, MODE_GROUP, ()),
        ("writable-by-all", open_to_all, MODE_ALL, ()),
        ("link", put_link, LINK, ()),
        ("link-of-another", put_link_of_stranger, LINK, needs_root),
    )
]
each_fault = pytest.mark.parametrize(("name", "spoil", "said"), FOLDER_FAULTS + FILE_FAULTS)


def picture(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Names, modes, owners and contents of all files."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = status.st_mode, status.st_uid, content
    return found


@each_user
@each_fault
def test_it_is_refused(
    asked: Asked,
    place: Path,
    data: DataDir,
    user: int | None,
    name: str,
    spoil: Spoil,
    said: str,
    processes_in: Callable[[Path], list[int]],
) -> None:
    """`up`, commands and easy_goals() say in one line what is wrong and what to do; nothing is changed or started."""
    spoil(data.path / name)
    before = picture(place)
    calls = [["up", "--port", "0"], ["status"], ["keys", "list"], ["tenants", "list"]]
    for call in calls:
        status, out, errors = asked(user, *call, "--data-dir", str(data.path))
        assert (status, out, errors.count("\n")) == (1, "", 1), errors
        assert errors.startswith(f"milepost: {data.path / name} "), errors
        assert said in errors
        assert "--data-dir" in errors
        assert ("chmod " in errors) == ("mode" in said)
    status, out, errors = asked(user, "easy_goals", str(data.path))
    assert (status, out) == (1, "")
    assert errors.splitlines()[-1].startswith(f"Unavailable: {data.path / name} "), errors
    assert said in errors
    assert picture(place) == before
    assert processes_in(place) == []


@each_user
@each_fault
def test_the_doctor_calls_it_a_problem(
    asked: Asked, place: Path, data: DataDir, user: int | None, name: str, spoil: Spoil, said: str
) -> None:
    """`milepost doctor` says what is wrong and what to do, goes on with the other checks, and changes nothing."""
    spoil(data.path / name)
    before = picture(place)
    status, out, errors = asked(user, "doctor", "--json", "--data-dir", str(data.path))
    assert (status, errors) == (1, "")
    found = {finding["check"]: finding for finding in json.loads(out)}
    assert found["data directory"]["state"] == "problem"
    assert found["data directory"]["found"].startswith(f"{data.path / name} ")
    assert said in found["data directory"]["found"]
    assert "--data-dir" in found["data directory"]["remedy"]
    assert {"disk", "port"} <= set(found)
    assert picture(place) == before


@each_user
def test_what_is_ours_alone_is_not_refused(asked: Asked, data: DataDir, user: int | None) -> None:
    """With its own directory and files a command goes on, and finds that no servers run."""
    status, _, errors = asked(user, "status", "--data-dir", str(data.path))
    assert (status, errors.partition(":")[2].partition(":")[0]) == (1, " no servers")


@needs_root
@pytest.mark.parametrize("user", [None])
def test_root_refuses_a_plain_users_folder(asked: Asked, data: DataDir) -> None:
    """Root may read everything, and uses nothing from a directory that belongs to a plain user."""
    filled(data.path, OTHER_ID)
    status, out, errors = asked(None, "up", "--port", "0", "--data-dir", str(data.path))
    assert (status, out) == (1, "")
    assert errors.startswith(f"milepost: {data.path} belongs to user ")
    assert errors.endswith(f"run: chown -R 0 {data.path}\n")


def test_every_command_that_takes_a_directory_refuses_it(asked: Asked, tmp_path: Path) -> None:
    """No command with --data-dir goes on with a directory that everybody may write."""
    assert set(READERS) == set(_takers()), "these are the commands that have to be in the list"
    data = filled(tmp_path / "data")
    data.path.chmod(0o777)
    before = picture(data.path)
    went_on = []
    for command, arguments in READERS.items():
        status, out, errors = asked(None, *command.split(), *arguments, "--data-dir", str(data.path))
        if status == 0 or f"{data.path} can be written by every user (mode 777)" not in out + errors:
            went_on.append((command, status, out, errors))
    assert went_on == []
    assert picture(data.path) == before


def _takers() -> Iterator[str]:
    group: Any = typer.main.get_command(program)
    for name in COMMANDS:
        command = group.get_command(None, name)
        for leaf, found in getattr(command, "commands", {"": command}).items():
            if "--data-dir" in {option for parameter in found.params for option in parameter.opts}:
                yield f"{name} {leaf}".strip()


@pytest.mark.parametrize("name", ["lock", "users", "postgres/lock", "postgres/password", "valkey/password"])
def test_a_link_in_the_place_of_another_file_is_not_followed(tmp_path: Path, name: str) -> None:
    """Locks are emptied and passwords trusted: a link in the place of one is refused, its target stays as it is."""
    precious = tmp_path / "precious"
    precious.write_text("dear")
    data = filled(tmp_path / "data")
    (data.path / name).parent.mkdir(mode=0o700, exist_ok=True)
    (data.path / name).symlink_to(precious)
    for use in (data.open, data.servers, data.require_trusted):
        with pytest.raises(Untrusted, match=f"^{data.path / name} is a symbolic link; "):
            use()
    if name == "lock":
        for use in (data.lock, lambda: is_locked(data.path)):
            with pytest.raises(Untrusted):
                use()
    assert precious.read_text() == "dear"


@pytest.mark.parametrize("name", ["logs", "postgres", "valkey"])
def test_a_folder_in_it_that_others_may_write_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever may write the folder of a server chooses its password: that folder is checked like the directory."""
    data = filled(tmp_path / "data")
    (data.path / name).mkdir(mode=0o700, exist_ok=True)
    (data.path / name).chmod(0o770)
    with pytest.raises(Untrusted, match=f"^{data.path / name} can be written by its group "):
        data.open()


def test_no_log_is_written_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a log nor the copy of the one before is written to where a link leads."""
    precious, log = tmp_path / "precious", tmp_path / "logs" / "api.log"
    precious.write_text("dear")
    log.parent.mkdir(mode=0o700)
    log.symlink_to(precious)
    with pytest.raises(Untrusted, match="is a symbolic link"):
        open_log(log)
    log.unlink()
    log.write_text("a long line")
    log.with_name("api.log.1").symlink_to(precious)
    monkeypatch.setattr("milepost.embedded.logs.KEEP_BYTES", 5)
    bound_log(log)
    assert (precious.read_text(), log.with_name("api.log.1").read_text()) == ("dear", "a long line")


@needs_root
def test_a_stream_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Valkey would load an append-only file that another user put there: the directory is refused first."""
    data = filled(tmp_path / "data")
    planted = data.valkey / "appendonlydir" / "appendonly.aof.manifest"
    planted.parent.mkdir(mode=0o700, parents=True)
    data.valkey.chmod(0o700)
    planted.write_text("")
    data.require_trusted()
    give_away(planted)
    for use in (data.open, data.servers):
        with pytest.raises(Untrusted, match=f"^{planted} belongs to user 65533; "):
            use()


@needs_root
def test_a_database_behind_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    """PostgreSQL would work where another user's link leads: the directory is refused first."""
    data = filled(tmp_path / "data")
    data.postgres.mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir()
    link = data.postgres / "data"
    link.symlink_to(tmp_path / "elsewhere")
    data.require_trusted()
    give_away(link)
    for use in (data.open, data.servers):
        with pytest.raises(Untrusted, match=f"^{link} is a symbolic link that belongs to user 65533; "):
            use()


@needs_root
def test_a_folder_that_the_servers_user_may_pass_is_trusted(tmp_path: Path) -> None:
    """Where PostgreSQL runs as another user its group may pass through the directory, which is no fault."""
    data = filled(tmp_path / "data")
    os.chown(data.path, -1, OTHER_ID)
    data.path.chmod(0o710)
    (data.path / "postgres" / "data").mkdir(mode=0o700, parents=True)
    (data.path / "postgres").chmod(0o710)
    os.chown(data.path / "postgres" / "data", OTHER_ID, OTHER_ID)
    assert data.open().keep_key(None) == data.keep_key(None)
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o710


def test_a_link_of_our_own_leads_to_the_directory(tmp_path: Path) -> None:
    """A person may keep the directory on another disk, behind a link of their own."""
    data = filled(tmp_path / "disk")
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert DataDir(tmp_path / "data").open().path == data.path
    assert DataDir(tmp_path / "data").keep_key(None) == data.keep_key(None)


@needs_root
def test_a_link_of_another_on_the_way_is_refused(tmp_path: Path) -> None:
    """A link of another user is refused wherever it is in the path, behind a link of our own, too."""
    filled(tmp_path / "disk" / "data")
    (tmp_path / "theirs").symlink_to("disk")
    (tmp_path / "ours").symlink_to("theirs")
    path = tmp_path / "ours" / "data"
    DataDir(path).require_trusted()
    give_away(tmp_path / "theirs")
    for use in (DataDir(path).open, DataDir(path).servers, DataDir(tmp_path / "theirs" / "new").open):
        with pytest.raises(DirectoryUnusable, match=rf"^{tmp_path}/theirs is a symbolic link that belongs to "):
            use()
    assert not (tmp_path / "disk" / "new").exists()


def test_a_circle_of_links_is_no_endless_walk(tmp_path: Path) -> None:
    """Links that lead to each other are refused in the system's words."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DirectoryUnusable, match=f"^cannot use {tmp_path / 'a'}: "):
        DataDir(tmp_path / "a").open()


def test_a_pipe_in_the_place_of_the_key_is_not_waited_for(tmp_path: Path) -> None:
    """What is no file is refused at once, though opening it would wait for a writer."""
    data = filled(tmp_path / "data")
    (data.path / "key").unlink()
    os.mkfifo(data.path / "key", 0o600)
    with pytest.raises(Untrusted, match=f"^{data.path / 'key'} is no file; "):
        data.keep_key(None)


def test_a_folder_above_that_all_may_write_is_no_fault(tmp_path: Path) -> None:
    """As in /tmp, the directory's own owner and mode decide."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    data = DataDir(tmp_path / "shared" / "data").open()
    assert data.keep_key(None) == data.keep_key(None)


def test_a_file_exchanged_after_the_check_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read from the folder that was checked, although another folder has its name by then."""
    data = filled(tmp_path / "data")
    kept = data.keep_key(None)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "key").write_text(PLANTED)
    judge = trust._require_ours

    def check_then_exchange(path: Path, status: os.stat_result) -> None:
        judge(path, status)
        if path == data.path:
            data.path.rename(tmp_path / "away")
            (tmp_path / "evil").rename(data.path)

    monkeypatch.setattr(trust, "_require_ours", check_then_exchange)
    assert read_trusted(data.path / "key").strip() == kept


def test_a_found_folder_that_others_may_only_read_is_closed(tmp_path: Path) -> None:
    """Nobody else can have put anything into it, so it is used, and from then on nobody else reads it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    DataDir(tmp_path / "data").open()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
