"""What the faults are made with: links that break on demand, and disks that fill up and lose their power."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.chaos.system.proxy import Mode, Proxy
from tests.chaos.system.system import children_of

ROOT = Path(__file__).parents[2]
PATIENCE_S = 10


@pytest.fixture
def link() -> Iterator[Proxy]:
    """A link to a server that says everything back."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_say_back, args=(server,), daemon=True).start()
    proxy = Proxy(server.getsockname()[1])
    proxy.start()
    yield proxy
    proxy.stop()
    server.close()


def _say_back(server: socket.socket) -> None:
    def serve(client: socket.socket) -> None:
        with client, suppress(ConnectionError):
            while data := client.recv(1_024):
                client.sendall(data)

    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def connected(link: Proxy) -> socket.socket:
    """A connection by way of the link."""
    return socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE_S)


def said_back(client: socket.socket, what: bytes) -> bool:
    """Whether the server's answer comes."""
    client.sendall(what)
    return client.recv(1_024) == what


def is_reset(client: socket.socket) -> bool:
    """Whether the connection ends, by a reset or in good order."""
    try:
        return client.recv(1_024) == b""
    except ConnectionResetError:
        return True


def test_an_open_link_lets_everything_through(link: Proxy) -> None:
    """Both ways, on more than one connection."""
    with closing(connected(link)) as one, closing(connected(link)) as other:
        assert said_back(one, b"one")
        assert said_back(other, b"other")


def test_a_connection_that_lost_bytes_stays_silent_until_it_is_ended(link: Proxy) -> None:
    """What was swallowed is gone, and what comes after it does not get through either; new connections do."""
    with closing(connected(link)) as client, closing(connected(link)) as unharmed:
        assert said_back(client, b"before")
        link.switch(Mode.SWALLOW)
        client.sendall(b"lost")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1_024)
        link.switch(Mode.OPEN)
        client.sendall(b"after")
        with pytest.raises(TimeoutError):
            client.recv(1_024)
        client.settimeout(PATIENCE_S)
        link.end_lost()
        assert is_reset(client)
        assert said_back(unharmed, b"well")


def test_a_cut_link_ends_what_there_is_and_lets_nobody_in(link: Proxy) -> None:
    """Until it is open again."""
    with closing(connected(link)) as client:
        assert said_back(client, b"before")
        link.switch(Mode.CUT)
        assert is_reset(client)
        with closing(connected(link)) as refused:
            assert is_reset(refused)
        link.switch(Mode.OPEN)
        with closing(connected(link)) as again:
            assert said_back(again, b"again")


def test_a_reset_ends_connections_and_lets_new_ones_in(link: Proxy) -> None:
    """At once."""
    with closing(connected(link)) as client:
        assert said_back(client, b"before")
        link.reset()
        assert is_reset(client)
        with closing(connected(link)) as again:
            assert said_back(again, b"again")


def test_a_delayed_link_takes_its_time(link: Proxy) -> None:
    """A fifth of a second each way."""
    with closing(connected(link)) as client:
        link.switch(Mode.DELAY)
        began = time.monotonic()
        assert said_back(client, b"slow")
        assert time.monotonic() - began >= 0.4


def test_children_are_found_while_they_live() -> None:
    """A process of ours is among our children until it has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children_of(os.getpid())
        child.communicate(b"\n")
        assert child.pid not in children_of(os.getpid())


def on_a_disk(script: str, folder: Path) -> list[str]:
    """The words that a script says which makes a disk in a folder; skips where no disk can be made.

    In a process of its own: its mounts are nobody else's business.
    """
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if "no disks" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stderr == ""
    return done.stdout.split()


ON_A_DISK = """
import os, sys
from pathlib import Path
from tests.chaos.system.disks import NoDisks, enter_namespace, make_disk

folder = Path(sys.argv[1])
try:
    enter_namespace()
    disk = make_disk(folder / "disk", 64)
except NoDisks as reason:
    sys.exit(f"no disks: {reason}")
try:
    with (disk.folder / "kept").open("wb") as file:
        file.write(b"synced")
        file.flush()
        os.fsync(file.fileno())
        file.write(b" and not")
        file.flush()
        disk.lose_power()
    print((disk.folder / "kept").read_text())
    disk.fill()
    try:
        (disk.folder / "more").write_bytes(bytes(8_192))
    except OSError as error:
        print(error.errno)
    os.sync()
    disk.free_space()
    disk.lose_power()
    (disk.folder / "more").write_bytes(bytes(8_192))
    print("room")
finally:
    disk.remove()
"""


def test_a_disk_loses_what_was_not_synced_and_fills_up(tmp_path: Path) -> None:
    """After a loss of power a file has what was synced and no more; a full disk takes nothing until there is room."""
    assert on_a_disk(ON_A_DISK, tmp_path) == ["synced", str(errno.ENOSPC), "room"]
    assert not (tmp_path / "disk" / "kept").exists()


# The server is killed and its disk taken back to what had reached it, right after each append.
ON_A_DISK_THAT_LOSES_POWER = """
import sys
from pathlib import Path
from core.stream.stream import EventStream, connect
from tests.chaos.system.disks import NoDisks, enter_namespace, make_disk
from milepost.embedded.valkey import EmbeddedValkey

folder = Path(sys.argv[1])
try:
    enter_namespace()
    disk = make_disk(folder / "valkey", 128)
except NoDisks as reason:
    sys.exit(f"no disks: {reason}")
port = None
try:
    for number in range(1, 6):
        server = EmbeddedValkey.start(disk.folder, port=port, appendfsync="everysec", log=folder / "log")
        with connect(server.url) as client:
            stream = EventStream(client, 1)
            print(stream.status({})[0].length)
            stream.append("default", [("a", b"{}")] * 10)
        server.kill()
        disk.lose_power()
        port = server.port
finally:
    disk.remove()
"""


def test_what_an_append_returned_for_survives_a_loss_of_power_under_everysec(tmp_path: Path) -> None:
    """Also on a server whose WAITAOF answers before it has synced, as Valkey's does."""
    assert on_a_disk(ON_A_DISK_THAT_LOSES_POWER, tmp_path) == ["0", "10", "20", "30", "40"]
