"""When which day was first closed for all goals of a tenant.

Revision ID: 0020
Revises: 0017
"""

from alembic import op
import sqlalchemy as sa


revision = "0020"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "closed_days",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", name=op.f("closed_days_pkey")),
    )
