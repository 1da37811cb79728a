"""Dead letters can be listed newest first.

Revision ID: 0010
Revises: 0009
"""

from alembic import op
import sqlalchemy as sa


revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("dead_letters_recorded_idx", "dead_letters", ["tenant", "recorded_at"], unique=False)
