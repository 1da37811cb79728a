"""What the integrator tells of providers' accounts.

Revision ID: 0017
Revises: 0016
"""

from alembic import op
import sqlalchemy as sa


revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_accounts",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_account_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("since", sa.Date(), nullable=True),
        sa.Column("connection", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind in ('asset', 'liability')", name=op.f("provider_accounts_kind_check")),
        sa.PrimaryKeyConstraint("tenant", "provider", "provider_account_id", name=op.f("provider_accounts_pkey")),
    )
    op.create_index(
        "provider_accounts_connection_idx",
        "provider_accounts",
        ["tenant", "provider", "connection"],
        unique=False,
        postgresql_where=sa.text("connection IS NOT NULL"),
    )
