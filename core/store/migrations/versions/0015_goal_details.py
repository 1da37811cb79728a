"""What an application keeps with a goal for itself.

Revision ID: 0015_goal_details
Revises: 0014_has_dates
"""

from alembic import op

revision = "0015_goal_details"
down_revision = "0014_has_dates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and the index that keeps an application's own id the id of one goal of a user."""
    op.execute(
        """ALTER TABLE goals ADD COLUMN external_id text, ADD COLUMN metadata text, ADD COLUMN position bigint,
        ADD COLUMN image_url text"""
    )
    op.execute(
        """CREATE UNIQUE INDEX goals_external_id_idx ON goals (tenant, user_id, external_id)
        WHERE external_id IS NOT NULL"""
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP INDEX goals_external_id_idx")
    op.execute(
        "ALTER TABLE goals DROP COLUMN external_id, DROP COLUMN metadata, DROP COLUMN position, DROP COLUMN image_url"
    )
