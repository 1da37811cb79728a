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
    """Change the outbox. What is in it was never announced, so it is no news any more."""
    op.execute(
        """CREATE TABLE message_counts (
            tenant text NOT NULL,
            goal_id text NOT NULL,
            subject text NOT NULL,
            times bigint NOT NULL,
            PRIMARY KEY (tenant, goal_id, subject))"""
    )
    op.execute(
        """INSERT INTO message_counts (tenant, goal_id, subject, times)
        SELECT o.tenant, o.goal_id, o.message_id, 1 FROM outbox o
        WHERE EXISTS (SELECT FROM goals g WHERE g.tenant = o.tenant AND g.goal_id = o.goal_id)"""
    )
    op.execute("DROP INDEX outbox_due_idx")
    op.execute(
        """ALTER TABLE outbox
        DROP COLUMN delivered_at,
        ALTER COLUMN goal_id DROP NOT NULL,
        ADD COLUMN user_id text,
        ADD COLUMN happened_at timestamptz,
        ADD COLUMN historical boolean NOT NULL DEFAULT false,
        ADD COLUMN position bigint"""
    )
    op.execute(
        """UPDATE outbox SET message_id = message_id || '\\:1', historical = true,
        user_id = CAST(payload AS json) ->> 'user_id',
        happened_at = coalesce(CAST(CAST(payload AS json) ->> 'reached_at' AS timestamptz), created_at),
        payload = concat('{"type":"', type, '","timestamp":',
            coalesce(CAST(CAST(payload AS json) -> 'reached_at' AS text), 'null'), ',"data":', payload, '}')"""
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
