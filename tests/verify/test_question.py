"""The audit's own way to ask: parameters by name, on a session that cannot write."""

from __future__ import annotations

import pytest
from psycopg.errors import ReadOnlySqlTransaction

from core.store.database import Sessions
from core.verify.question import Question


def test_parameters_are_given_by_name(session_factory: Sessions) -> None:
    """As often as they are named; a cast, a time of day and a percent sign are none."""
    question = Question("SELECT :b, :a || :b, 'x'::text, '12:30', 'ab' LIKE 'a%', 7 % 4")
    with session_factory.reading() as session:
        assert question.rows(session, {"a": "1", "b": "2", "unused": 3}) == [("2", "12", "x", "12:30", True, 3)]
        with pytest.raises(ReadOnlySqlTransaction):
            Question("DELETE FROM goals").rows(session, {})
