"""How the audit asks the database: its own statements, on sessions that its caller opens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import psycopg

Row = tuple[Any, ...]
Session: TypeAlias = psycopg.Connection[Row]
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


class Reading(Protocol):
    """Opens sessions for reading."""

    def reading(self) -> AbstractContextManager[Session]:
        """A session that cannot write and sees one moment only."""
        ...


class Question:
    """A statement with parameters written as `:name`."""

    __slots__ = ("_sql",)

    def __init__(self, sql: str) -> None:
        # As the driver takes it, with every percent sign of the statement's own written twice.
        self._sql = _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")).encode()

    def rows(self, session: Session, parameters: Mapping[str, object]) -> list[Row]:
        """All rows."""
        return session.execute(self._sql, parameters).fetchall()
