"""What an ordinary installation brings is all that our processes import: nothing is there by way of `dev` alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution, packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What api, workers, beat, commands and the Python face load between them.
PROGRAM = """
import sys
import api.app, worker.app, worker.tasks, worker.app, milepost.cli.program, milepost.sync, milepost.client.in_process
import kombu.transport.redis, celery.bin.worker, celery.beat, uvicorn.protocols.http.h11_impl, psycopg, alembic.command
import milepost.embedded.supervisor, milepost.cli.status, milepost.cli.replay, milepost.cli.verify
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
OURS = {"api", "core", "milepost", "schedules", "worker"}
# uvicorn looks for the first and rich for the second, and they do without; the third is a hook of an environment's own
# setuptools.
OPTIONAL = {"yaml", "attr", "_distutils_hack"}


def installed(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """The distributions that come with one and some of its extras, itself among them."""
    found.add(canonicalize_name(name))
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        is_wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras | {""}
        )
        if is_wanted and canonicalize_name(requirement.name) not in found:
            installed(requirement.name, frozenset(requirement.extras), found)
    return found


def test_nothing_is_imported_that_is_not_required() -> None:
    """Every module that our processes load belongs to Python, to us, or to what pyproject.toml asks for."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split()
    required = installed("milepost", frozenset(), set())
    owners = packages_distributions()
    candidates = {name: owners[name] for name in loaded if name in owners and name not in OURS | OPTIONAL}
    foreign = {name for name, of in candidates.items() if not {canonicalize_name(each) for each in of} & required}
    assert foreign == set()
