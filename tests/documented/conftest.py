"""Readers of the documentation, who have a fresh database where the manager looks for one."""

from __future__ import annotations

from asyncio import Runner
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import GoalManager, GoalStatus, GoalType, easy_goals
from tests.documented.page import Reader


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> Iterator[Reader]:
    """Runs blocks in an empty namespace; the managers that they make are closed in the end."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    monkeypatch.setenv("MILEPOST_REDIS_URL", redis_url)
    with Runner() as runner:
        reader = Reader(runner, {"__name__": "reader"})
        yield reader
        for value in reader.names.values():
            if isinstance(value, GoalManager):
                reader.wait(value.close())


@pytest.fixture
def given(reader: Reader) -> Reader:
    """A reader with what the core concepts take as given: the imports, `manager`, and `goal`, 2,500.00 of 10,000.00."""
    manager = easy_goals()
    reader.names |= {"manager": manager, "GoalType": GoalType, "GoalStatus": GoalStatus, "datetime": datetime}
    reader.names["goal"] = new_goal(reader, current_amount=2500.00)
    return reader


def new_goal(reader: Reader, **fields: Any) -> Any:
    """A savings goal of 10,000.00 unless told otherwise, made by the reader's manager."""
    told = {"user_id": "user_123", "name": "Emergency Fund", "type": GoalType.SAVINGS, "target_amount": 10000.00}
    deadline = datetime.now(UTC) + timedelta(days=365)
    return reader.wait(reader.names["manager"].create_goal(**{**told, "deadline": deadline, **fields}))
