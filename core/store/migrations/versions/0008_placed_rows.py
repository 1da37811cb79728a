"""Rows that have only a date are placed by when they were first reported, and by the balances around them.

Revision ID: 0008_placed_rows
Revises: 0007_goals_as_meant
"""

from alembic import op

revision = "0008_placed_rows"
down_revision = "0007_goals_as_meant"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept for placing. Rows that are stored already keep their places, as if they had instants.

    A report's gap is what it says beyond the rows before it that were reported by then; the first has none.
    """
    op.execute(
        """ALTER TABLE transactions ADD COLUMN dated date, ADD COLUMN first_reported timestamptz,
            ADD COLUMN booked_rank text, ADD COLUMN booked_minor bigint, ADD COLUMN booked_on date,
            ADD COLUMN lent_at timestamptz"""
    )
    op.execute(
        """CREATE INDEX transactions_removed_idx ON transactions (tenant, account_id, booked_on)
        WHERE removed AND booked_on IS NOT NULL"""
    )
    op.execute(
        """ALTER TABLE reports ADD COLUMN gap_minor bigint NOT NULL DEFAULT 0,
            ADD COLUMN has_moved boolean NOT NULL DEFAULT false"""
    )
    op.execute(
        """ALTER TABLE accounts ADD COLUMN first_recorded_at timestamptz, ADD COLUMN last_recorded_at timestamptz,
            ADD COLUMN lends boolean NOT NULL DEFAULT false"""
    )
    # It takes as long as there are transactions: a minute for some ten million.
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        """UPDATE accounts a SET first_recorded_at = t.first_at, last_recorded_at = t.last_at
        FROM (SELECT tenant, account_id, min(event_time) AS first_at, max(event_time) AS last_at
            FROM transactions WHERE NOT pending AND NOT removed GROUP BY 1, 2) AS t
        WHERE a.tenant = t.tenant AND a.account_id = t.account_id"""
    )
    op.execute(
        """UPDATE reports r SET gap_minor = r.residual_minor + coalesce((
            SELECT sum(t.amount_minor) FROM transactions t
            WHERE t.tenant = r.tenant AND t.account_id = r.account_id AND t.counts
              AND t.posted_at > b.before_at AND t.posted_at <= r.as_of AND t.event_time > r.as_of), 0)
        FROM (SELECT tenant, account_id, as_of, lag(as_of) OVER (PARTITION BY tenant, account_id ORDER BY as_of)
            AS before_at FROM reports) AS b
        WHERE (b.tenant, b.account_id, b.as_of) = (r.tenant, r.account_id, r.as_of) AND b.before_at IS NOT NULL"""
    )
