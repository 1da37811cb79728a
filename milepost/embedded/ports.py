"""TCP ports: choosing a free one, and saying that one is taken before anything starts."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import suppress

from core.errors import InvalidField
from milepost.embedded.errors import PortTaken

# Below those that systems give to outgoing connections: one of these could take the port before its server does, and
# keep it for as long as it lives.
_OUR_OWN = range(20_000, 32_000)
_GUESSES = 30


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, and no outgoing connection will have."""
    for guess in random.sample(_OUR_OWN, _GUESSES):
        with suppress(PortTaken):
            return claim_port(host, guess)
    return _listened_on(host, 0)


def claim_port(host: str, port: int) -> int:
    """The port to listen on: `port` itself, or any free one for 0; raises PortTaken."""
    return _listened_on(host, port) if port else free_port(host)


def _listened_on(host: str, port: int) -> int:
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
