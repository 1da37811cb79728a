"""Where days are closed already, what is recorded of their closes begins now.

Revision ID: 0023
Revises: 0022
"""

from alembic import op


revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One moment for both, or a moment between them would be known without any day.
    op.execute(
        "WITH begun AS (UPDATE tenants SET closes_recorded_from = now() WHERE closed_through IS NOT NULL "
        "RETURNING tenant, closed_through, closes_recorded_from) "
        "INSERT INTO closed_days (tenant, day, closed_at) SELECT tenant, closed_through, closes_recorded_from FROM begun"
    )
