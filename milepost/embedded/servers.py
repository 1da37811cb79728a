"""The servers of one data directory: started, checked, started again, stopped; external servers are left alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from core.errors import MilepostError
from core.settings import Settings
from milepost.embedded.child import describe_status
from milepost.embedded.datadir import DataDir
from milepost.embedded.logs import bound_log, rotate_log
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey

Say = Callable[[str], None]
_START_AGAIN_S = 2.0


@dataclass(slots=True)
class Servers:
    """Postgres and Valkey for `settings`; one that the settings name is external, and is not started here."""

    data: DataDir
    settings: Settings
    say: Say
    _postgres: EmbeddedPostgres | None = None
    _valkey: EmbeddedValkey | None = None
    _not_before: float = field(default=0.0)

    def start(self) -> None:
        """Start the servers that the settings do not name; raises ServerFailed, DirectoryUnusable."""
        if self.settings.database_url is None:
            is_new = not (self.data.postgres / "data").exists()
            self.say("creating the database" if is_new else "starting PostgreSQL")
            rotate_log(self._postgres_log)
            self._start_postgres(None)
        if self.settings.redis_url is None:
            self.say("starting Valkey")
            rotate_log(self._valkey_log)
            self._start_valkey(None)

    @property
    def database_url(self) -> str:
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        assert self._postgres is not None, "start() comes first"
        return self._postgres.url

    @property
    def redis_url(self) -> str:
        if self.settings.redis_url is not None:
            return self.settings.redis_url.get_secret_value()
        assert self._valkey is not None, "start() comes first"
        return self._valkey.url

    def check(self) -> None:
        """Start a server that has ended again, on its old port, since all processes know that address."""
        bound_log(self._postgres_log)
        bound_log(self._valkey_log)
        if time.monotonic() < self._not_before:
            return
        try:
            self._check_postgres()
            self._check_valkey()
        except (MilepostError, OSError, psycopg.Error) as trouble:
            # Any error may pass, a full disk for example; and if we ended, nobody would start the server again.
            self.say(f"{str(trouble).strip()}; trying again in {_START_AGAIN_S:g} s")
            self._not_before = time.monotonic() + _START_AGAIN_S

    def stop_valkey(self, *, timeout_s: float) -> None:
        if self._valkey is not None:
            self._valkey.stop(timeout_s=timeout_s)

    def stop_postgres(self, *, timeout_s: float) -> None:
        if self._postgres is not None:
            self._postgres.stop(timeout_s=timeout_s)

    def _check_postgres(self) -> None:
        server = self._postgres
        if server is not None and (status := server.exit_status()) is not None:
            self._say_ended("PostgreSQL", status, self._postgres_log)
            server.kill()
            self._start_postgres(server.port)

    def _check_valkey(self) -> None:
        server = self._valkey
        if server is not None and (status := server.exit_status()) is not None:
            self._say_ended("Valkey", status, self._valkey_log)
            server.kill()
            self._start_valkey(server.port)

    def _start_postgres(self, port: int | None) -> None:
        self._postgres = EmbeddedPostgres.start(
            self.data.postgres, port=port, home=self.data.path, log=self._postgres_log
        )

    def _start_valkey(self, port: int | None) -> None:
        self._valkey = EmbeddedValkey.start(self.data.valkey, port=port, log=self._valkey_log)

    def _say_ended(self, name: str, status: int, log: Path) -> None:
        self.say(f"{name} ended ({describe_status(status)}), starting it again; its log is {log}")

    @property
    def _postgres_log(self) -> Path:
        return self.data.logs / "postgres.log"

    @property
    def _valkey_log(self) -> Path:
        return self.data.logs / "valkey.log"
