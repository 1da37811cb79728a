"""A tenant knows since when it is recorded how its closes were written anew.

Revision ID: 0022
Revises: 0021
"""

from alembic import op
import sqlalchemy as sa


revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("closes_recorded_from", sa.DateTime(timezone=True), nullable=True))
