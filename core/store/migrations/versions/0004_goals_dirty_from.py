"""A goal knows from which day its closes are to be written, and since when they are judged.

Revision ID: 0004
Revises: 0003
"""

from alembic import op
import sqlalchemy as sa


revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("goals", sa.Column("dirty_from", sa.Date(), nullable=True))
    op.add_column("goals", sa.Column("judged_from", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "goals_dirty_idx",
        "goals",
        ["tenant", "dirty_from"],
        unique=False,
        postgresql_where=sa.text("dirty_from IS NOT NULL"),
    )
    op.create_index(
        "goals_net_worth_idx",
        "goals",
        ["tenant", "user_id"],
        unique=False,
        postgresql_where=sa.text("tracking = 'net_worth'"),
    )
