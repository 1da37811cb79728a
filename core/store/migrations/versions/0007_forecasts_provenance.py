"""A forecast knows what it was computed from.

Revision ID: 0007
Revises: 0006
"""

from alembic import op
import sqlalchemy as sa


revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("forecasts", sa.Column("through_day", sa.Date(), nullable=True))
    op.add_column("forecasts", sa.Column("goal_version", sa.BigInteger(), nullable=True))
