"""Endpoints of tenants, what is to be delivered to each, and the attempts.

Revision ID: 0019_endpoints
Revises: 0018_message_ids
"""

from alembic import op

revision = "0019_endpoints"
down_revision = "0018_message_ids"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables. What was announced before is in the feed, and is not delivered."""
    op.execute(
        """CREATE TABLE endpoints (
            tenant text NOT NULL REFERENCES tenants,
            endpoint_id text NOT NULL,
            url text NOT NULL,
            description text,
            types text[],
            rate integer CONSTRAINT endpoints_rate_check CHECK (rate > 0),
            enabled boolean NOT NULL,
            disabled_reason text CONSTRAINT endpoints_disabled_reason_check
                CHECK (disabled_reason IN ('request', 'gone', 'failing')),
            disabled_at timestamptz,
            failing_since timestamptz,
            held_until timestamptz,
            sealed_secrets bytea NOT NULL,
            secrets integer NOT NULL,
            created_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, endpoint_id),
            CONSTRAINT endpoints_disabled_check
                CHECK (enabled = (disabled_reason IS NULL) AND enabled = (disabled_at IS NULL)))"""
    )
    op.execute("ALTER TABLE endpoints RENAME CONSTRAINT endpoints_tenant_fkey TO endpoints_tenants_fkey")
    op.execute(
        """CREATE TABLE deliveries (
            tenant text NOT NULL,
            endpoint_id text NOT NULL,
            message_id text NOT NULL,
            status text NOT NULL DEFAULT 'pending' CONSTRAINT deliveries_status_check
                CHECK (status IN ('pending', 'delivered', 'failed')),
            due_at timestamptz,
            leased_until timestamptz,
            attempts integer NOT NULL DEFAULT 0,
            failures integer NOT NULL DEFAULT 0,
            PRIMARY KEY (tenant, endpoint_id, message_id),
            CONSTRAINT deliveries_endpoints_fkey FOREIGN KEY (tenant, endpoint_id) REFERENCES endpoints
                ON DELETE CASCADE,
            CONSTRAINT deliveries_due_check CHECK ((status = 'pending') = (due_at IS NOT NULL)))
            WITH (fillfactor = 80)"""
    )
    op.execute("CREATE INDEX deliveries_due_idx ON deliveries (tenant, endpoint_id, due_at) WHERE due_at IS NOT NULL")
    op.execute("CREATE INDEX deliveries_leased_idx ON deliveries (tenant, endpoint_id) WHERE leased_until IS NOT NULL")
    op.execute(
        """CREATE TABLE delivery_attempts (
            tenant text NOT NULL,
            endpoint_id text NOT NULL,
            message_id text NOT NULL,
            attempt integer NOT NULL,
            at timestamptz NOT NULL,
            status integer,
            error text,
            latency_ms integer NOT NULL,
            answer text NOT NULL,
            PRIMARY KEY (tenant, endpoint_id, message_id, attempt),
            CONSTRAINT delivery_attempts_deliveries_fkey FOREIGN KEY (tenant, endpoint_id, message_id)
                REFERENCES deliveries ON DELETE CASCADE)"""
    )
    op.execute(
        """CREATE INDEX delivery_attempts_at_idx
        ON delivery_attempts (tenant, endpoint_id, at, message_id, attempt)"""
    )
