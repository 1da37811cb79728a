"""Find audits that found something without reading those of every tenant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "job_runs_violations_idx",
        "job_runs",
        ["tenant", "period", "chunk"],
        postgresql_where=sa.text("job = 'verify' AND result NOT LIKE '%\"violations\": 0%'"),
    )


def downgrade() -> None:
    op.drop_index("job_runs_violations_idx", "job_runs")
