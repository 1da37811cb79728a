"""The data directory of an embedded Milepost: what lies where, who may read it, where its servers are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from milepost.embedded.lock import DirectoryLock, is_held
from milepost.embedded.secret import keep_secret, private_folder, write_private

KEY_PREFIX = "mp_"


@dataclass(frozen=True, slots=True)
class RunningServers:
    """What other commands need to find a running `milepost up`; the addresses hold passwords."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    api_url: str
    supervisor_pid: int
    child_pids: dict[str, int]

    @property
    def is_prepared(self) -> bool:
        """Whether the schema and the first tenant are there, which comes before the first child."""
        return bool(self.child_pids)


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory; nothing is made or read before a method is called."""

    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def background_log(self) -> Path:
        """What supervisors say that no person started."""
        return self.logs / "up.log"

    @property
    def _servers(self) -> Path:
        return self.path / "servers.json"

    @property
    def _key(self) -> Path:
        return self.path / "key"

    @property
    def _secrets_key(self) -> Path:
        return self.path / "secrets_key"

    def open(self) -> DataDir:
        """Make the directory if need be, with mode 700; returns it with its absolute path."""
        path = private_folder(self.path)
        private_folder(path / "logs")
        return DataDir(path)

    def lock(self, *, note: str = "") -> DirectoryLock:
        """Be the only one who runs servers here; raises DirectoryInUse naming who does, with the `note` it left."""
        return DirectoryLock.acquire(self.path, note=note)

    def keep_key(self, wanted: str | None) -> str:
        """The first API key in clear: `wanted`, else the one kept here, else a new one; it is kept."""
        if wanted is not None:
            write_private(self._key, wanted + "\n")
            return wanted
        return keep_secret(self._key, prefix=KEY_PREFIX)

    def renew_key(self) -> str:
        """A new first API key in clear, kept in the place of the old one."""
        self._key.unlink(missing_ok=True)
        return self.keep_key(None)

    def keep_secrets_key(self) -> str:
        """What seals the secrets of webhooks, kept here; a new one if there is none yet."""
        return keep_secret(self._secrets_key)

    def secrets_key(self) -> str | None:
        """What `keep_secrets_key` keeps here, if it does."""
        return self.keep_secrets_key() if self._secrets_key.exists() else None

    def publish(self, servers: RunningServers) -> None:
        """Tell other commands of the same user where the servers are."""
        write_private(self._servers, json.dumps(asdict(servers), indent=2) + "\n")

    def withdraw(self) -> None:
        """Nothing runs here any more."""
        self._servers.unlink(missing_ok=True)

    def servers(self) -> RunningServers | None:
        """Where the servers are, if a supervisor runs here now; what a killed one left does not count."""
        try:
            text = self._servers.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        return RunningServers(**json.loads(text)) if is_held(self.path) else None
