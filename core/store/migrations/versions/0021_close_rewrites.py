"""What the closes of days that were closed already were before they were written anew.

Revision ID: 0021
Revises: 0020
"""

from alembic import op
import sqlalchemy as sa


revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "close_rewrites",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("goal_id", sa.Text(), nullable=False),
        sa.Column("rewritten_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("before_minor", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "goal_id", "rewritten_at", "day", name=op.f("close_rewrites_pkey")),
    )
