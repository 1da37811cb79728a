"""What was there before days were closed is marked, so that the first closing finds it.

Revision ID: 0005
Revises: 0004
"""

from alembic import op
import sqlalchemy as sa


revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE goals SET dirty_from = start_date WHERE dirty_from IS NULL")
    # Two days back covers what is today in any time zone. Older days are covered by the marks on the goals.
    op.execute("UPDATE accounts SET dirty_from = LEAST(dirty_from, CURRENT_DATE - 2)")
