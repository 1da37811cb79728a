"""The machine, the data directory and the port: what `milepost up` needs of them."""

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import MilepostError
from core.settings import Settings
from milepost.embedded.datadir import DataDir, RunningServers, is_locked
from milepost.embedded.errors import ServerFailed
from milepost.embedded.launch import NAMESPACE, OTHER_USER
from milepost.embedded.programs import claim_port, memory_bytes, postgres_program, valkey_server
from milepost.embedded.run_as import choose_run_as
from milepost.embedded.trust import Untrusted, read_trusted
from milepost.ops.finding import Finding, ok, problem, warning

_PROC = Path("/proc")
_LISTENING = "0A"
_COMMAND_LONGEST = 60
FULL_BYTES = 2**30
TIGHT_BYTES = 5 * 2**30
# All permissions of group and others, but for the group's to pass through, which the server's user may need.
_OPEN_TO_OTHERS = 0o067
_ANOTHER = "choose another place with --data-dir or MILEPOST_DATA_DIR"
PYTHON_LEAST = (3, 11)
POSTGRES = 18
MEMORY_LEAST_BYTES = 2**30
_ANSWER_WITHIN_S = 20
_RUN_AS_TEXTS = {
    NAMESPACE: ", in a user namespace since this is root",
    OTHER_USER: ", as user 65534 since this is root",
}
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Listener:
    """A process and its command line."""

    pid: int
    arguments: tuple[str, ...]

    @property
    def is_milepost(self) -> bool:
        """Whether it is a Milepost API."""
        return "milepost" in {Path(argument).name for argument in self.arguments} and "api" in self.arguments

    def __str__(self) -> str:
        return f"process {self.pid} ({' '.join(self.arguments)[:_COMMAND_LONGEST]})"


def listener_of(port: int) -> Listener | None:
    """The process that listens on `port`; None if there is none, or if it is another user's and not visible."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not sockets:
        return None
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and sockets & set(_open_files(entry)):
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                return Listener(int(entry.name), tuple(part for part in command.split("\0") if part))
    return None


def examine_directory_and_port(settings: Settings, running: RunningServers | None) -> Iterator[Finding]:
    """Check the data directory and the port."""
    yield from _directory(settings.data_dir)
    yield _room(settings.data_dir)
    # The lock of a directory that is refused is not read.
    with suppress(Untrusted):
        yield _runs_here(settings.data_dir)
    yield _port(settings, running)


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Check what needs no server."""
    yield _python()
    if settings.database_url is None:
        yield _program("PostgreSQL program", lambda: postgres_program("postgres", POSTGRES), _run_as)
    if settings.redis_url is None:
        yield _program("Valkey program", valkey_server, lambda _: "")
    yield from _memory(settings)
    yield from _settings(settings)


def _inodes(port: int) -> Iterator[str]:
    """Yield the sockets that listen on a port: columns 2, 4 and 10 of /proc/net/tcp are address, state and inode."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text("ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                yield os.readlink(file)


def _directory(path: Path) -> Iterator[Finding]:
    check = "data directory"
    if not path.exists():
        above = _existing(path)
        if os.access(above, os.W_OK | os.X_OK):
            yield ok(check, f"{path} is not there yet; `milepost up` makes it")
        else:
            yield problem(check, f"{path} cannot be made: {above} is not yours to write", _ANOTHER)
        return
    if not path.is_dir():
        yield problem(check, f"{path} is no directory", _ANOTHER)
        return
    try:
        DataDir(path).require_trusted()
    except Untrusted as refused:
        yield problem(check, refused.found, refused.remedy)
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OPEN_TO_OTHERS:
        yield warning(check, f"{path} is open to others (mode {mode:o})", f"run: chmod 700 {path}")
    else:
        yield ok(check, f"{path} is yours alone")


def _room(path: Path) -> Finding:
    free = shutil.disk_usage(_existing(path)).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < FULL_BYTES:
        return problem("disk", found, "free some space: with a full disk no event is accepted or applied")
    if free < TIGHT_BYTES:
        return warning("disk", found, "free some space before it is needed")
    return ok("disk", found)


def _runs_here(path: Path) -> Finding:
    if path.is_dir() and is_locked(path):
        return ok("milepost up", f"runs here as process {_holder(path)}")
    return ok("milepost up", "does not run here")


def _holder(path: Path) -> str:
    try:
        return read_trusted(path / "lock").strip() or "unknown"
    except OSError:
        return "unknown"


def _port(settings: Settings, running: RunningServers | None) -> Finding:
    check = "port"
    if running is not None:
        return ok(check, f"the API of this data directory is at {running.api_url}")
    try:
        claim_port(settings.host, settings.port)
    except MilepostError as error:
        holder = listener_of(settings.port)
        whose = "" if holder is None else f" by {holder}"
        is_apart = settings.database_url is not None and settings.redis_url is not None
        if holder is not None and holder.is_milepost and is_apart:
            # A `milepost api` that was started by itself, with external servers.
            return ok(check, f"{settings.port} is taken{whose}")
        return problem(check, f"{error}{whose}", "choose another with --port or MILEPOST_PORT, 0 for any free one")
    return ok(check, f"{settings.port or 'any'} is free on {settings.host}")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < PYTHON_LEAST:
        return problem("Python", found, "install Python 3.11 or newer, then run `make setup PYTHON=...`")
    return ok("Python", found)


def _program(check: str, find: Callable[[], Path], describe: Callable[[Path], str]) -> Finding:
    remedy = "install Milepost again, or name servers of your own with MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL"
    try:
        program = find()
        done = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=False
        )
    except (ServerFailed, OSError, subprocess.TimeoutExpired) as error:
        return problem(check, str(error), remedy)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        return problem(check, f"{program} does not run: {said or done.returncode}", remedy)
    return ok(check, done.stdout.strip().partition("\n")[0] + describe(program))


def _run_as(program: Path) -> str:
    """The user that Postgres would run as."""
    return _RUN_AS_TEXTS.get(choose_run_as(program), "")


def _memory(settings: Settings) -> Iterator[Finding]:
    total = memory_bytes()
    found = f"{total / 2**30:.1f} GiB"
    if total < MEMORY_LEAST_BYTES:
        yield warning("memory", found, "give the machine or the container 1 GiB or more")
    else:
        yield ok("memory", found)
    if settings.database_url is None and _MEMORY.is_dir():
        size = shutil.disk_usage(_MEMORY).total
        yield ok("shared memory", f"/dev/shm has {size / 2**20:.0f} MiB; the embedded PostgreSQL does not use it")


def _settings(settings: Settings) -> Iterator[Finding]:
    odd = list(_odd_settings(settings))
    yield from odd or [ok("settings", "they go together")]


def _odd_settings(settings: Settings) -> Iterator[Finding]:
    drains, shards = settings.drain_concurrency, settings.shards
    if drains < shards:
        yield warning(
            "settings",
            f"{drains} drain processes for {shards} shards: events of one wait while another is drained",
            f"set MILEPOST_DRAIN_PROCESSES={shards}, unset it, or run that many workers",
        )
    if drains > shards:
        yield warning(
            "settings",
            f"{drains} drain processes for {shards} shards: a shard is drained by one at a time",
            f"set MILEPOST_DRAIN_PROCESSES={shards} or raise MILEPOST_SHARDS",
        )
    if shards > 4 * (os.cpu_count() or 1):
        yield warning(
            "settings", f"{shards} shards on {os.cpu_count()} processors", "lower MILEPOST_SHARDS, or run more machines"
        )
    if settings.stream_durability == "none":
        yield warning(
            "settings",
            "MILEPOST_STREAM_DURABILITY=none: a crash of the stream server loses events that were accepted",
            "unset it, unless losing events is acceptable",
        )
    if settings.host not in {"127.0.0.1", "::1", "localhost"}:
        yield warning(
            "settings",
            f"MILEPOST_HOST={settings.host}: the API takes keys from the network in clear",
            "put a proxy with TLS in front of it, or listen on 127.0.0.1",
        )
