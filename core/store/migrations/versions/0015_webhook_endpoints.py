"""The addresses that providers post to, each with its sealed secrets.

Revision ID: 0015
Revises: 0014
"""

from alembic import op
import sqlalchemy as sa


revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("sealed_secrets", sa.LargeBinary(), nullable=False),
        sa.Column("secrets", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "provider in ('plaid','teller','mx','standard')", name=op.f("webhook_endpoints_provider_check")
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.tenant"], name=op.f("webhook_endpoints_tenants_fkey")),
        sa.PrimaryKeyConstraint("tenant", "endpoint_id", name=op.f("webhook_endpoints_pkey")),
    )
    op.create_index("webhook_endpoints_endpoint_idx", "webhook_endpoints", ["endpoint_id"], unique=True)
    op.create_index("webhook_endpoints_provider_idx", "webhook_endpoints", ["provider"], unique=False)
