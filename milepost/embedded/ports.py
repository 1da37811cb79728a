"""TCP ports: choosing a free one, and saying that one is taken before anything starts."""

from __future__ import annotations

import errno
import socket

from core.errors import InvalidField
from milepost.embedded.errors import PortTaken


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now; somebody may take it before you do."""
    return claim_port(host, 0)


def claim_port(host: str, port: int) -> int:
    """The port to listen on: `port` itself, or any free one for 0; raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier run that linger in TIME_WAIT do not make a port taken.
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
