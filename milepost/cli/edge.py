"""What errors mean to a person at a terminal."""

from __future__ import annotations

from core.errors import MilepostError


def explain(error: Exception) -> str | None:
    """One line for trouble that can be expected; None for a defect, which should show its traceback."""
    from psycopg import Error as PsycopgError
    from redis.exceptions import RedisError
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, MilepostError):
        return str(error)
    if isinstance(error, DBAPIError):
        return f"the database: {_first_line(error.orig or error)}"
    if isinstance(error, PsycopgError):
        return f"the database: {_first_line(error)}"
    if isinstance(error, RedisError):
        return f"the stream server: {_first_line(error)}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
