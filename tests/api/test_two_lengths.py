"""A request says in one way how long its body is."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from api.app import make_app
from core.settings import Settings
from tests.serving import serving


@pytest.mark.parametrize("order", [0, 1])
def test_two_lengths_are_refused_and_the_connection_ends(settings: Settings, order: int) -> None:
    """What comes after the refused request is not taken for another one, whichever length is right."""
    lengths = ["Content-Length: 4", "Transfer-Encoding: chunked"]
    head = "\r\n".join(["POST /goals HTTP/1.1", "Host: x", "Authorization: Bearer k", *lengths[:: 1 - 2 * order]])
    smuggled = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(make_app(settings)) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
            connection.sendall(f"{head}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}".encode())
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Send either Content-Length or Transfer-Encoding, not both" in answer
