"""Messages of an outbox that can be read: each has a number of its happening and, once it is announced, a position.

Revision ID: 0017_messages
Revises: 0016_pace
"""

from alembic import op

revision = "0017_messages"
down_revision = "0016_pace"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the outbox. What is in it was never announced, and becomes historical."""
    op.execute(
        """CREATE TABLE message_counts (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            subject text NOT NULL,
            times bigint NOT NULL,
            holds boolean NOT NULL,
            PRIMARY KEY (tenant, goal_id, subject))"""
    )
    op.execute("DROP INDEX outbox_due_idx")
    op.execute(
        """ALTER TABLE outbox
        DROP COLUMN delivered_at,
        ALTER COLUMN goal_id DROP NOT NULL,
        ADD COLUMN user_id text,
        ADD COLUMN happened_at timestamptz,
        ADD COLUMN historical boolean NOT NULL DEFAULT false,
        ADD COLUMN threshold_minor bigint,
        ADD COLUMN position bigint"""
    )
    op.execute(
        """DELETE FROM outbox o
        WHERE NOT EXISTS (SELECT FROM goals g WHERE g.tenant = o.tenant AND g.goal_id = o.goal_id)"""
    )
    # The id of goal.reached had the target in it; it has how manieth time it is instead, as all others.
    op.execute(
        """WITH numbered AS (
            SELECT o.tenant, o.message_id, s.subject,
                row_number() OVER (PARTITION BY o.tenant, s.subject ORDER BY o.created_at, o.message_id) AS times
            FROM outbox o CROSS JOIN LATERAL (SELECT CASE o.type WHEN 'goal.reached'
                THEN concat('goal.reached:', o.goal_id) ELSE o.message_id END AS subject) s),
        counted AS (
            INSERT INTO message_counts (tenant, goal_id, subject, times, holds)
            SELECT n.tenant, o.goal_id, n.subject, max(n.times), true
            FROM numbered n JOIN outbox o USING (tenant, message_id) GROUP BY n.tenant, o.goal_id, n.subject)
        UPDATE outbox o SET message_id = concat(n.subject, ':', n.times), historical = true,
            user_id = CAST(o.payload AS json) ->> 'user_id',
            happened_at = coalesce(CAST(CAST(o.payload AS json) ->> 'reached_at' AS timestamptz), o.created_at),
            payload = concat('{"type":"', o.type, '","timestamp":',
                coalesce(CAST(CAST(o.payload AS json) -> 'reached_at' AS text), CAST(to_json(o.created_at) AS text)),
                ',"data":{"type":"', g.type, '",', substr(o.payload, 2), '}')
        FROM numbered n, goals g
        WHERE n.tenant = o.tenant AND n.message_id = o.message_id AND g.tenant = o.tenant AND g.goal_id = o.goal_id"""
    )
    op.execute(
        """UPDATE message_counts c SET holds = false FROM goals g
        WHERE g.tenant = c.tenant AND g.goal_id = c.goal_id AND g.reached_at IS NULL
          AND c.subject LIKE 'goal.reached%'"""
    )
    op.execute(
        """INSERT INTO message_counts (tenant, goal_id, subject, times, holds)
        SELECT tenant, goal_id, concat('goal.completed:', goal_id), 1, true FROM goals WHERE status = 'completed'"""
    )
    op.execute("ALTER TABLE outbox ALTER COLUMN happened_at SET NOT NULL")
    op.execute("CREATE UNIQUE INDEX outbox_position_idx ON outbox (tenant, position) WHERE position IS NOT NULL")
    op.execute("CREATE INDEX outbox_waiting_idx ON outbox (tenant, created_at) WHERE position IS NULL")
    op.execute(
        """ALTER TABLE tenants
        ADD COLUMN announce_within_s integer NOT NULL DEFAULT 604800,
        ADD COLUMN announce_after_s integer NOT NULL DEFAULT 0,
        ADD COLUMN announce_at_close boolean NOT NULL DEFAULT false,
        ADD COLUMN messages_from bigint NOT NULL DEFAULT 0,
        ADD CONSTRAINT tenants_announce_check CHECK (announce_within_s >= 0 AND announce_after_s >= 0)"""
    )
