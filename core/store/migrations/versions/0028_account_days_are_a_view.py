"""What the days of accounts moved is summed up from the facts where it is asked for, no longer kept.

Revision ID: 0028
Revises: 0027

A worker of the version before adds to the days in every batch, which Postgres refuses here with SQLSTATE 55000 (object not
in prerequisite state). To that version it is the database's trouble, not the event's fault, so its batches are rolled back
and stay pending until a worker of this version takes them. What it reads of the days it finds in the view.
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TABLE account_days")
    # A fact is of the later of two days: the one its moment is in by the clock, and the one that the clock showed at
    # the last midnight by the time of three hours ago. They differ where the clock was turned back over a midnight that
    # it had shown already (St. John's, at a minute past): the new day went on then, as core.events.calendar has it.
    op.execute(
        """CREATE VIEW account_days AS
        SELECT f.tenant, f.account_id,
            greatest(
                CAST(f.at AT TIME ZONE n.time_zone AS date),
                CAST((f.at - CAST(CAST(
                    (f.at - interval '3 hours') AT TIME ZONE n.time_zone + interval '3 hours' AS time) AS interval))
                    AT TIME ZONE n.time_zone AS date)) AS day,
            sum(f.moved_minor) AS moved_minor,
            sum(f.residual_minor) AS residual_minor,
            sum(f.inflow_minor) AS inflow_minor
        FROM (
            SELECT tenant, account_id, posted_at AS at, amount_minor AS moved_minor, CAST(0 AS bigint) AS residual_minor,
                greatest(amount_minor, 0) AS inflow_minor
            FROM transactions WHERE counts
            UNION ALL
            SELECT tenant, account_id, as_of, 0, residual_minor, 0 FROM reports WHERE residual_minor <> 0) AS f
        JOIN tenants n ON n.tenant = f.tenant
        GROUP BY 1, 2, 3
        HAVING sum(f.moved_minor) <> 0 OR sum(f.residual_minor) <> 0 OR sum(f.inflow_minor) <> 0"""
    )
