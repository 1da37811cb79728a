"""A stored projection tells its pace; those that do not are dropped, and made anew when they are read or at night.

Revision ID: 0013
Revises: 0012
"""

from alembic import op
import sqlalchemy as sa


revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("forecasts", sa.Column("monthly_minor", sa.BigInteger(), nullable=True))
    op.execute("TRUNCATE forecasts")
