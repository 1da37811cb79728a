"""Starting a child that ends with us, in a session of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from milepost.embedded import launch

_LAUNCHER = str(Path(launch.__file__))
# Servers get none of our environment: it may hold passwords, and PG* variables would change what they do.
BARE_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    cwd: Path,
    output: IO[bytes] | int,
    way: str = launch.AS_IS,
    environment: Mapping[str, str] = BARE_ENVIRONMENT,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command`; it gets `death_signal` when the calling thread ends, so call from the main thread."""
    launcher = [sys.executable, "-I", "-S", _LAUNCHER, str(int(death_signal)), str(os.getpid()), way]
    return subprocess.Popen(
        [*launcher, *command],
        cwd=cwd,
        env=dict(environment),
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """Ask a child to end, and kill it if it has not after so long."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
