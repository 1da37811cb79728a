"""Which accounts have rows with only a date: only of these it is kept what balances say beyond their rows.

Revision ID: 0014_has_dates
Revises: 0013_known_by_rows
"""

from alembic import op

revision = "0014_has_dates"
down_revision = "0013_known_by_rows"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the flag, and forget the gaps of the reports of all other accounts."""
    op.execute("ALTER TABLE accounts ADD COLUMN has_dates boolean NOT NULL DEFAULT false")
    # It takes as long as there are transactions: a minute for some ten million.
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        """UPDATE accounts a SET has_dates = true
        FROM (SELECT DISTINCT tenant, account_id FROM transactions WHERE dated IS NOT NULL OR booked_on IS NOT NULL) t
        WHERE a.tenant = t.tenant AND a.account_id = t.account_id"""
    )
    op.execute(
        """UPDATE reports r SET gap_minor = 0 FROM accounts a
        WHERE a.tenant = r.tenant AND a.account_id = r.account_id AND NOT a.has_dates AND r.gap_minor <> 0"""
    )
