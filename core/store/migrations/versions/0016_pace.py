"""Keep of a goal's projection what its closes say, its pace, in the place of a date and a note.

Revision ID: 0016_pace
Revises: 0015_goal_details
"""

from alembic import op

revision = "0016_pace"
down_revision = "0015_goal_details"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the columns, and let the next run of the job project make all rows again."""
    op.execute("TRUNCATE forecasts")
    op.execute(
        """ALTER TABLE forecasts
        ALTER COLUMN through_day SET NOT NULL,
        DROP COLUMN goal_version,
        DROP COLUMN projected_completion_at,
        DROP COLUMN projection_note,
        DROP COLUMN monthly_minor,
        ADD COLUMN trend_minor bigint,
        ADD COLUMN trend_days integer,
        ADD COLUMN contributed_minor bigint NOT NULL DEFAULT 0,
        ADD COLUMN contribution_months integer NOT NULL,
        ADD COLUMN projected_at timestamptz NOT NULL,
        ADD CONSTRAINT forecasts_trend_check CHECK ((trend_minor IS NULL) = (trend_days IS NULL)),
        ADD CONSTRAINT forecasts_months_check CHECK (contribution_months BETWEEN 0 AND 3)"""
    )
    op.execute(
        """DELETE FROM job_runs r USING tenants t
        WHERE r.tenant = t.tenant AND r.job = 'project' AND r.period = CAST(t.closed_through AS text)"""
    )
