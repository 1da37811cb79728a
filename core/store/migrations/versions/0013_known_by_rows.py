"""When the rows of an account without a report suffice to say what it is worth.

Revision ID: 0013_known_by_rows
Revises: 0012_spans
"""

from alembic import op

revision = "0013_known_by_rows"
down_revision = "0012_spans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the moment, which the job due sets, and let all days of goals that follow balances be closed again.

    Closes from before the first report show the manual amount now.
    """
    op.execute("ALTER TABLE accounts ADD COLUMN known_by_rows_at timestamptz")
    op.execute(
        """CREATE INDEX accounts_awaited_idx ON accounts (first_recorded_at)
        WHERE first_recorded_at IS NOT NULL AND known_by_rows_at - first_recorded_at IS DISTINCT FROM interval '7 days'
            AND (first_report_at IS NULL OR first_report_at - first_recorded_at > interval '7 days')"""
    )
    op.execute(
        """UPDATE goals SET dirty_from = least(dirty_from, start_date)
        WHERE tracking IN ('balance', 'net_worth')"""
    )
