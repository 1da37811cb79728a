"""GET /accounts finds what was registered for an account.

Revision ID: 0005_accounts_of_providers
Revises: 0004_signs
"""

from alembic import op

revision = "0005_accounts_of_providers"
down_revision = "0004_signs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.execute("CREATE INDEX provider_accounts_account_idx ON provider_accounts (tenant, account_id)")
