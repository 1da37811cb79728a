"""A provider's account may be registered with a sign: its bank writes amounts or balances the other way round.

Revision ID: 0004_signs
Revises: 0003_one_path
"""

from alembic import op

revision = "0004_signs"
down_revision = "0003_one_path"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is registered so far is taken as the provider gives it."""
    op.execute(
        """ALTER TABLE provider_accounts
        ADD COLUMN sign text,
        ADD CONSTRAINT provider_accounts_sign_check
            CHECK (sign in ('as_given', 'reversed', 'reversed_amounts', 'reversed_balances'))"""
    )
