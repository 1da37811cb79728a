"""Goals know how many links they have, and the amount before the last line that a batch wrote.

Revision ID: 0025
Revises: 0023
"""

from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE goals ADD COLUMN sources bigint NOT NULL DEFAULT 0, ADD COLUMN before_minor bigint")
    # A trigger, so that no writer of links can forget it, least of all one of the version before this one.
    op.execute(
        """CREATE FUNCTION count_sources() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                UPDATE goals SET sources = sources + 1 WHERE tenant = NEW.tenant AND goal_id = NEW.goal_id;
            ELSE
                UPDATE goals SET sources = sources - 1 WHERE tenant = OLD.tenant AND goal_id = OLD.goal_id;
            END IF;
            RETURN NULL;
        END $$"""
    )
    op.execute(
        """CREATE TRIGGER links_count_sources AFTER INSERT OR DELETE ON links
        FOR EACH ROW EXECUTE FUNCTION count_sources()"""
    )
