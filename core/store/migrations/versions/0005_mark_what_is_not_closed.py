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
    # Every row is written: that takes as long as it takes, and locks out nobody who only reads.
    op.execute("SET LOCAL statement_timeout = 0")
    # Closes from before a goal's last request are not judged: what was typed, changed or paused then is not known here.
    op.execute(
        "UPDATE goals SET dirty_from = start_date, judged_from = CASE WHEN final_at IS NULL THEN acted_at END "
        "WHERE dirty_from IS NULL"
    )
    # Two days back covers what is today in any time zone. Older days are covered by the marks on the goals.
    op.execute("UPDATE accounts SET dirty_from = LEAST(dirty_from, CURRENT_DATE - 2)")
