"""When accounts count: from the day they were opened, and joined ones each in its own time.

Revision ID: 0012_spans
Revises: 0011_currencies
"""

from alembic import op

revision = "0012_spans"
down_revision = "0011_currencies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is stated, and what follows from it.

    Statements `replaced_by` that are stored already changed no amount. They are forgotten, so that no amount moves
    before they are sent again.
    """
    op.execute(
        """ALTER TABLE accounts
            ADD COLUMN replaced_from date, ADD COLUMN replaced_from_rank text,
            ADD COLUMN opened date, ADD COLUMN opened_rank text,
            ADD COLUMN chain_id text, ADD COLUMN joined_as text,
            ADD COLUMN counts_from timestamptz, ADD COLUMN counts_until timestamptz"""
    )
    op.execute("CREATE INDEX accounts_chain_idx ON accounts (tenant, chain_id) WHERE chain_id IS NOT NULL")
    op.execute("UPDATE accounts SET replaced_by = NULL, replaced_by_rank = NULL WHERE replaced_by_rank IS NOT NULL")
