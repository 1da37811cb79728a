"""An app whose goals cannot be opened: its callers learn that they are away, and its log says why."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from milepost import MilepostError, add_goals, sync
from tests.api.conftest import SAVINGS

AWAY = {"detail": "The database is not available; try again"}


def _answers(manager: Any) -> list[Any]:
    """What a GET and a POST get from an app that serves this manager."""
    app = FastAPI()
    add_goals(app, manager)
    client = TestClient(app)
    return [client.get("/goals"), client.post("/goals", json=SAVINGS)]


def _is_only_in_the_log(manager: Any, caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """Each answer is a plain 503, and each has its line in the log, which has these words."""
    with caplog.at_level(logging.WARNING, logger="milepost"):
        answers = _answers(manager)
    for answer in answers:
        assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (503, AWAY, "2")
    lines = [record.getMessage() for record in caplog.records if record.name == "milepost"]
    assert len(lines) == len(answers)
    assert all(word in line and len(line.splitlines()) == 1 for line in lines for word in words)


def test_a_tenant_whose_name_has_lines_is_one_line_of_the_log(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is called, its line is one."""
    with sync.easy_goals(database_url=database_url, tenant="ac\r\nme\u2028x") as manager:
        _is_only_in_the_log(manager, caplog, "there is no tenant ac me x;")


def test_a_tenant_that_is_not_there(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither its name nor the command that lists tenants goes out; the manager itself says both."""
    with sync.easy_goals(database_url=database_url, tenant="acme") as manager:
        _is_only_in_the_log(manager, caplog, "acme", "milepost tenants list")
        with pytest.raises(LookupError, match="there is no tenant acme; `milepost tenants list`"):
            manager.list_goals()


def test_tables_that_are_not_there(engine: Engine, database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The hint to migrate is for the operator, who reads the log or calls the manager."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with sync.easy_goals(database_url=database_url) as manager:
        _is_only_in_the_log(manager, caplog, "milepost migrate")
        with pytest.raises(MilepostError, match="milepost migrate"):
            manager.list_goals()


def test_servers_that_do_not_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The path of the data directory does not go out."""
    place = tmp_path / "a-file"
    place.write_text("in the way")
    with sync.easy_goals(data_dir=place) as manager:
        _is_only_in_the_log(manager, caplog, str(place))
        with pytest.raises(MilepostError, match="a-file"):
            manager.list_goals()
