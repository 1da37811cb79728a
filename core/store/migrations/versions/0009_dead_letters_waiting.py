"""What waits among the dead letters can be counted without those that are done with.

Revision ID: 0009
Revises: 0008
"""

from alembic import op
import sqlalchemy as sa


revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "dead_letters_waiting_idx",
        "dead_letters",
        ["tenant", "code"],
        unique=False,
        postgresql_where=sa.text("replayed_at IS NULL AND discarded_at IS NULL"),
    )
