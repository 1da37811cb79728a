"""Windows: pulls that hold all booked rows of their days.

Revision ID: 0009_windows
Revises: 0008_placed_rows
"""

from alembic import op

revision = "0009_windows"
down_revision = "0008_placed_rows"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, what the fold notes of windows on rows and accounts, and the index that it needs."""
    op.execute(
        """CREATE TABLE windows (
            tenant text NOT NULL, account_id text NOT NULL, source text NOT NULL, event_time timestamptz NOT NULL,
            from_day date NOT NULL, through_day date NOT NULL,
            CONSTRAINT windows_pkey PRIMARY KEY (tenant, account_id, source, event_time, from_day, through_day),
            CONSTRAINT windows_days_check CHECK (from_day <= through_day)
        )"""
    )
    op.execute("ALTER TABLE accounts ADD COLUMN last_window_at timestamptz")
    op.execute("ALTER TABLE transactions ADD COLUMN missing boolean")
    # It takes as long as there are transactions.
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        """CREATE INDEX transactions_uncounted_idx ON transactions (tenant, account_id, posted_at)
        WHERE NOT counts AND NOT pending AND NOT removed"""
    )
