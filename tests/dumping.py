"""What the business tables hold, so that a refused call can be seen to have changed nothing."""

from __future__ import annotations

from sqlalchemy import Engine, select

from core.store.tables import BUSINESS_TABLES


def dump(engine: Engine) -> str:
    """All rows in order, a line each."""
    lines = []
    with engine.connect() as connection:
        for table in BUSINESS_TABLES:
            rows = connection.execute(select(table).order_by(*table.primary_key.columns))
            lines += [f"{table.name} {tuple(row)!r}" for row in rows]
    return "\n".join(lines)
