"""Goals as their owners mean them: deadlines that are days, net worths that follow accounts by default.

Revision ID: 0007_goals_as_meant
Revises: 0006_due
"""

from alembic import op

revision = "0007_goals_as_meant"
down_revision = "0006_due"
branch_labels = None
depends_on = None


# Accounts of a net worth's user that are not in its currency have a link, too, which counts nothing.
_LINK_LEFT_OUT = """
    INSERT INTO links (tenant, goal_id, account_id, linked_at, measure, whole, ppm, from_at, until_at, base_minor,
        end_minor)
    SELECT g.tenant, g.goal_id, a.account_id, early.at, 'worth', true, 1000000, early.at, g.final_at, 0,
        CASE WHEN g.final_at IS NOT NULL THEN a.worth_minor
            - coalesce((SELECT sum(t.amount_minor) FROM transactions t
                WHERE t.tenant = a.tenant AND t.account_id = a.account_id AND t.counts
                  AND t.posted_at >= g.final_at), 0)
            - coalesce((SELECT sum(r.residual_minor) FROM reports r
                WHERE r.tenant = a.tenant AND r.account_id = a.account_id AND r.as_of >= g.final_at), 0) END
    FROM goals g JOIN accounts a ON a.tenant = g.tenant AND a.user_id = g.user_id
    CROSS JOIN (SELECT timestamptz '1900-01-02 00:00:00+00' AS at) AS early
    WHERE g.tracking = 'net_worth'
      AND NOT EXISTS (SELECT FROM links l
          WHERE l.tenant = g.tenant AND l.goal_id = g.goal_id AND l.account_id = a.account_id)"""


def upgrade() -> None:
    """Tell days from moments, asked trackings from default ones, and ends of links from ends of goals.

    Accounts that net worths leave out get their links, and milestones their ids.
    """
    # It takes as long as there are goals and milestones.
    op.execute("SET LOCAL statement_timeout = 0")
    _tell_days("goals", "deadline", "deadline")
    _tell_days("milestones", "target_date", "target")
    op.execute("ALTER TABLE goals ADD COLUMN tracking_by_default boolean NOT NULL DEFAULT false")
    op.execute(_LINK_LEFT_OUT)
    op.execute("ALTER TABLE links ADD COLUMN unlinked_at timestamptz")
    op.execute(
        """UPDATE links l SET unlinked_at = l.until_at FROM goals g
        WHERE g.tenant = l.tenant AND g.goal_id = l.goal_id AND l.until_at < coalesce(g.final_at, 'infinity')"""
    )
    op.execute("ALTER TABLE goals ADD COLUMN starts_at_balance boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE goals ALTER COLUMN start_minor DROP NOT NULL, ALTER COLUMN start_minor DROP DEFAULT")
    op.execute(
        "ALTER TABLE goals ADD CONSTRAINT goals_start_check CHECK (start_minor IS NOT NULL OR starts_at_balance)"
    )
    op.execute("ALTER TABLE milestones ADD COLUMN milestone_id text")
    op.execute("UPDATE milestones SET milestone_id = 'milestone_' || replace(CAST(gen_random_uuid() AS text), '-', '')")
    op.execute("ALTER TABLE milestones ALTER COLUMN milestone_id SET NOT NULL")


def _tell_days(table: str, column: str, name: str) -> None:
    """Let a column of moments become two, for moments and for days.

    A date was stored as its midnight in UTC, which nobody means as a moment.
    """
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {name}_at")
    op.execute(f"ALTER TABLE {table} ADD COLUMN {name}_day date")
    op.execute(
        f"""UPDATE {table} SET {name}_day = CAST({name}_at AT TIME ZONE 'UTC' AS date), {name}_at = NULL
        WHERE {name}_at = date_trunc('day', {name}_at, 'UTC')"""
    )
    op.execute(
        f"""ALTER TABLE {table} ADD CONSTRAINT {table}_{name}_check
            CHECK ({name}_at IS NULL OR {name}_day IS NULL)"""
    )
