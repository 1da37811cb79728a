"""Batches need fewer notes: none about the links of goals and accounts, but one about replaced transactions.

Revision ID: 0003_one_path
Revises: 0002_positions
"""

from alembic import op

revision = "0003_one_path"
down_revision = "0002_positions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the triggers of links, their functions and columns; note which accounts have a transaction that replaces."""
    for trigger, function in (("links_count_sources", "count_sources"), ("links_note_linked_xid", "note_linked_xid")):
        op.execute(f"DROP TRIGGER {trigger} ON links")
        op.execute(f"DROP FUNCTION {function}()")
    op.execute("ALTER TABLE accounts DROP COLUMN linked_xid, ADD COLUMN replaces boolean NOT NULL DEFAULT false")
    # It takes as long as there are accounts with such transactions: a minute for some ten million.
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        """UPDATE accounts a SET replaces = true WHERE EXISTS (
            SELECT FROM transactions t
            WHERE t.tenant = a.tenant AND t.account_id = a.account_id AND t.replaces IS NOT NULL)"""
    )
    op.execute("ALTER TABLE goals DROP COLUMN sources, DROP COLUMN before_minor")
