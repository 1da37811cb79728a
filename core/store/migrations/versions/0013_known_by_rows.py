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
    """Add the moment; the job due sets that of accounts without a report."""
    op.execute("ALTER TABLE accounts ADD COLUMN known_by_rows_at timestamptz")
    op.execute(
        """CREATE INDEX accounts_awaited_idx ON accounts (tenant, account_id)
        WHERE first_report_at IS NULL AND known_by_rows_at IS NULL"""
    )
    op.execute(
        """UPDATE accounts SET known_by_rows_at = first_recorded_at + interval '168 hours'
        WHERE first_report_at > first_recorded_at + interval '168 hours'"""
    )
