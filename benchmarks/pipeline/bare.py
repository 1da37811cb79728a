"""What REST is compared with: an application with no middleware and no code of ours, on the same server and database.

`python -m benchmarks.pipeline.bare PORT` serves it. One route does nothing. The other is a bare transaction: it locks a
row, updates it, adds a line to a ledger and the row of an idempotency key, and commits.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from core.store.database import Sessions, open_sessions
from core.store.driver import Sql
from milepost.embedded.process import end, spawn
from milepost.embedded.programs import free_port
from milepost.embedded.supervisor import answers

if TYPE_CHECKING:
    from fastapi import FastAPI

_URL = "BENCH_DATABASE_URL"
_CONNECTIONS = 20
_PATIENCE_S = 30.0
_TABLES = (
    """CREATE TABLE bare_goals AS
    SELECT tenant, goal_id, name, amount_minor, version, updated_at FROM goals WHERE tracking = 'change'""",
    "ALTER TABLE bare_goals ADD PRIMARY KEY (tenant, goal_id)",
    """CREATE TABLE bare_entries (tenant text, goal_id text, entry bigint, recorded_at timestamptz, before_minor bigint,
        after_minor bigint, PRIMARY KEY (tenant, goal_id, entry))""",
    """CREATE TABLE bare_keys (tenant text, idempotency_key text, body text, created_at timestamptz,
        PRIMARY KEY (tenant, idempotency_key))""",
)
_LOCK = Sql(
    "SELECT amount_minor, version FROM bare_goals WHERE tenant = 'default' AND goal_id = :goal_id FOR NO KEY UPDATE"
)
_UPDATE = Sql(
    """UPDATE bare_goals SET amount_minor = :amount, version = :version, updated_at = now()
    WHERE tenant = 'default' AND goal_id = :goal_id"""
)
_ENTER = Sql("INSERT INTO bare_entries VALUES ('default', :goal_id, :version, now(), :before, :amount)")
_KEEP = Sql("INSERT INTO bare_keys VALUES ('default', :key, :body, now())")


@dataclass(frozen=True, slots=True)
class Bare:
    """A running bare application."""

    url: str
    pid: int


def make_bare_app(sessions: Sessions) -> FastAPI:
    """The application."""
    # Not at the top: each process of a benchmark imports this module. A drain with a web framework in its memory is
    # slower, since the collector looks through that too.
    from fastapi import FastAPI
    from fastapi.responses import Response

    app = FastAPI()

    @app.get("/health/live")
    async def nothing() -> dict[str, str]:
        return {"status": "live"}

    @app.patch("/goals/{goal_id}")
    def change(goal_id: str, body: dict[str, int]) -> Response:
        with sessions.begin() as session:
            before, version = _LOCK.one(session, {"goal_id": goal_id})
            changed = {"goal_id": goal_id, "amount": 100 * body["current_amount"], "version": version + 1}
            _UPDATE.run(session, changed)
            _ENTER.run(session, changed | {"before": before})
            answer = json.dumps({"id": goal_id, "version": version + 1})
            _KEEP.run(session, {"key": str(uuid4()), "body": answer})
        return Response(answer, media_type="application/json")

    return app


@contextmanager
def bare_app(database_url: str, folder: Path) -> Iterator[Bare]:
    """The application in a process of its own, on the tables that it needs; stopped when the block ends."""
    with open_sessions(database_url, application_name="milepost bench", limits={}) as sessions, sessions.begin() as one:
        for statement in _TABLES:
            Sql(statement).run(one, {})
    port = free_port()
    with Path(folder, "bare.log").open("wb") as output:
        command = [sys.executable, "-P", "-m", "benchmarks.pipeline.bare", str(port)]
        process = spawn(
            command,
            death_signal=signal.SIGTERM,
            cwd=Path.cwd(),
            output=output,
            environment=os.environ | {_URL: database_url, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    try:
        yield Bare(f"http://127.0.0.1:{port}", _await(process, f"http://127.0.0.1:{port}"))
    finally:
        end(process, grace_s=_PATIENCE_S)


def _await(process: subprocess.Popen[bytes], url: str) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the bare application of the benchmark did not start")
        time.sleep(0.1)
    return process.pid


def _serve(port: int) -> None:
    import uvicorn

    from api.connections import BoundedProtocol

    sessions = open_sessions(
        os.environ[_URL], application_name="milepost bench", connections=_CONNECTIONS, kept=_CONNECTIONS // 2
    )
    app = make_bare_app(sessions)
    uvicorn.run(app, port=port, access_log=False, log_config=None, server_header=False, http=BoundedProtocol)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
