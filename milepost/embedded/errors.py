"""Errors of embedded servers and their folders, with texts for people."""

from pathlib import Path

from core.errors import CANNOT, MilepostError


class ServerFailed(MilepostError):
    """A server did not start, or ended unexpectedly; the text says why and where its log is."""


class DirectoryInUse(MilepostError):
    """Another process has the lock of this directory."""

    def __init__(self, directory: Path, holder: str) -> None:
        todo = "end that one first, or choose another directory with --data-dir"
        super().__init__(f"{directory} is in use by process {holder}; {todo}")
        self.directory = directory
        self.holder = holder


class DirectoryUnusable(MilepostError):
    """A directory cannot be made, entered, or given the owner that a server needs."""


class DirectoryOfAnotherVersion(MilepostError):
    """The database in a data directory is at a revision from before the first release, or of a newer version."""

    def __init__(self, directory: Path, revision: str) -> None:
        super().__init__(
            f"{directory} holds a database at revision {revision}, {CANNOT}: keep that directory for the Milepost that "
            "made it, and choose a new one with --data-dir or MILEPOST_DATA_DIR"
        )


class PortTaken(MilepostError):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is taken; choose another with --port, or 0 for any free one")
        self.port = port
