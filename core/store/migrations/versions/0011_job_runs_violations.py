"""Audits that found something can be found without those of every tenant.

Revision ID: 0011
Revises: 0010
"""

from alembic import op
import sqlalchemy as sa


revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "job_runs_violations_idx",
        "job_runs",
        ["tenant", "period", "chunk"],
        unique=False,
        postgresql_where=sa.text("job = 'verify' AND result NOT LIKE '%\"violations\": 0%'"),
    )
