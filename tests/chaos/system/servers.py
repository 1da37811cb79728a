"""The servers of a run: those of the supervisor, on small disks if there are any, with any mode of fsync."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, cast

from milepost.embedded.child import send
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.servers import Servers
from milepost.embedded.valkey import EmbeddedValkey
from tests.chaos.system.disks import Disk

# Settings for a small disk.
_POSTGRES: Mapping[str, str] = {"max_wal_size": "256MB", "min_wal_size": "64MB", "shared_buffers": "64MB"}
_STREAM_BYTES = 256 * 2**20


class Fsync(StrEnum):
    """When the stream server syncs its file; NONE: it has no file, only memory."""

    ALWAYS = "always"
    EVERYSEC = "everysec"
    NONE = "none"


@dataclass(slots=True)
class ChaosServers(Servers):
    """The product's servers and their restarts, with settings of our own. `disks`: by server, if there are any."""

    fsync: Fsync = Fsync.ALWAYS
    disks: Mapping[str, Disk] = field(default_factory=dict)

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The database server."""
        assert self._postgres is not None, "start() comes first"
        return self._postgres

    @property
    def valkey(self) -> EmbeddedValkey:
        """The stream server."""
        assert self._valkey is not None, "start() comes first"
        return self._valkey

    def stop_postgres_at_once(self) -> None:
        """Stop Postgres immediately, without a checkpoint."""
        send(self.postgres.pid, signal.SIGQUIT)

    def kill_postmaster(self) -> None:
        """kill -9 of the postmaster only; its backends notice that it has ended, and end."""
        send(self.postgres.pid, signal.SIGKILL)

    def kill_stream(self, fsync: Fsync) -> None:
        """kill -9 of the stream server; the next one syncs as `fsync` says."""
        self.fsync = fsync
        send(self.valkey.pid, signal.SIGKILL)

    def _start_postgres(self, port: int | None) -> None:
        self._postgres = EmbeddedPostgres.start(
            self.data.postgres, port=port, settings=_POSTGRES, home=self.data.path, log=self._postgres_log
        )

    def _start_valkey(self, port: int | None) -> None:
        settings = {"maxmemory": str(_STREAM_BYTES)}
        if self.fsync is Fsync.NONE:
            settings["appendonly"] = "no"
        appendfsync = "no" if self.fsync is Fsync.NONE else str(self.fsync)
        self._valkey = EmbeddedValkey.start(
            self.data.valkey,
            port=port,
            appendfsync=cast(Literal["always", "everysec", "no"], appendfsync),
            settings=settings,
            log=self._valkey_log,
        )
