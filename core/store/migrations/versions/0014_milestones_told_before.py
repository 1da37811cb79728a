"""Milestones that were reached before anyone could ask which are new count as told.

Revision ID: 0014
Revises: 0013
"""

from alembic import op


revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Every reached milestone is written: that takes as long as it takes, and locks out nobody who only reads.
    op.execute("SET LOCAL statement_timeout = 0")
    # A tenant whose application asks already, of a database that had the column for a while, still has its news.
    op.execute(
        "UPDATE milestones m SET checked_at = marked_at WHERE reached_at IS NOT NULL AND checked_at IS NULL "
        "AND NOT EXISTS (SELECT FROM milestones c WHERE c.tenant = m.tenant AND c.checked_at IS NOT NULL)"
    )
