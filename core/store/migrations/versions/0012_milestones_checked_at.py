"""A milestone knows when it was told of to who asks which are new.

Revision ID: 0012
Revises: 0011
"""

from alembic import op
import sqlalchemy as sa


revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("milestones", sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True))
