"""The links that goals have already are counted.

Revision ID: 0026
Revises: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Every goal with links is written: that takes as long as it takes, and locks out nobody who only reads.
    op.execute("SET LOCAL statement_timeout = 0")
    # Nobody links meanwhile: a link begun after the count and before the write would be lost from it.
    op.execute("LOCK TABLE links IN SHARE MODE")
    op.execute(
        """UPDATE goals g SET sources = l.sources
        FROM (SELECT tenant, goal_id, count(*) AS sources FROM links GROUP BY tenant, goal_id) l
        WHERE (g.tenant, g.goal_id) = (l.tenant, l.goal_id) AND g.sources <> l.sources"""
    )
