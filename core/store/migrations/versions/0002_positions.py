"""The position of each shard comes into the database, where a batch and its position are one commit.

A shard that has no row yet is read from the oldest entry that its stream still has: known facts change nothing.

Revision ID: 0002_positions
Revises: 0001_baseline
"""

from alembic import op

revision = "0002_positions"
down_revision = "0001_baseline"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """CREATE TABLE stream_positions (
            tenant text NOT NULL,
            shard integer NOT NULL,
            entry_id text NOT NULL,
            passed bigint NOT NULL,
            server text NOT NULL,
            tries integer NOT NULL,
            in_doubt integer NOT NULL,
            reread_to text NOT NULL,
            begun_at timestamptz,
            PRIMARY KEY (tenant, shard)
        )"""
    )
