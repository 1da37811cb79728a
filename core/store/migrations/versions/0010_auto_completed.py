"""Note which goals were completed by a close, since a correction of that close makes them active again.

Revision ID: 0010_auto_completed
Revises: 0009_windows
"""

from alembic import op

revision = "0010_auto_completed"
down_revision = "0009_windows"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. The final moment of a goal that a request completed is that of its latest request."""
    op.execute("ALTER TABLE goals ADD COLUMN auto_completed boolean NOT NULL DEFAULT false")
    op.execute(
        """UPDATE goals SET auto_completed = true
        WHERE auto_complete AND status = 'completed' AND final_at IS DISTINCT FROM acted_at"""
    )
