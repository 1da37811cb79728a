"""Facts that are dated too far ahead to count are kept until they are due.

Revision ID: 0006_due
Revises: 0005_accounts_of_providers
"""

from alembic import op

revision = "0006_due"
down_revision = "0005_accounts_of_providers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time from which a transaction counts, and the table of the reports that wait."""
    op.execute("ALTER TABLE transactions ADD COLUMN due_at timestamptz")
    # It reads the whole table, in which no row has a value yet: a minute for some hundred million.
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("CREATE INDEX transactions_due_idx ON transactions (due_at) WHERE due_at IS NOT NULL")
    op.execute(
        """CREATE TABLE waiting_reports (
            tenant text NOT NULL,
            account_id text NOT NULL,
            as_of timestamptz NOT NULL,
            current_minor bigint NOT NULL DEFAULT 0,
            available_minor bigint,
            currency text NOT NULL,
            event_time timestamptz NOT NULL,
            source text NOT NULL,
            event_id text NOT NULL,
            due_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, account_id, as_of)
        )"""
    )
    op.execute("CREATE INDEX waiting_reports_due_idx ON waiting_reports (due_at)")
