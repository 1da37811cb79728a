"""Goals as their owners mean them: deadlines that are days.

Revision ID: 0007_goals_as_meant
Revises: 0006_due
"""

from alembic import op

revision = "0007_goals_as_meant"
down_revision = "0006_due"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tell days from moments."""
    # It takes as long as there are goals and milestones.
    op.execute("SET LOCAL statement_timeout = 0")
    _tell_days("goals", "deadline", "deadline")
    _tell_days("milestones", "target_date", "target")


def _tell_days(table: str, column: str, name: str) -> None:
    """Let a column of moments become two, for moments and for days.

    A date was stored as its midnight in UTC, which nobody means as a moment.
    """
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {name}_at")
    op.execute(f"ALTER TABLE {table} ADD COLUMN {name}_day date")
    op.execute(
        f"""UPDATE {table} SET {name}_day = CAST({name}_at AT TIME ZONE 'UTC' AS date), {name}_at = NULL
        WHERE {name}_at = date_trunc('day', {name}_at, 'UTC')"""
    )
    op.execute(
        f"""ALTER TABLE {table} ADD CONSTRAINT {table}_{name}_check
            CHECK ({name}_at IS NULL OR {name}_day IS NULL)"""
    )
