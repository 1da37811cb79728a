"""Accounts know which transaction changed their links last.

Revision ID: 0027
Revises: 0026
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE accounts ADD COLUMN linked_xid bigint")
    # A trigger, so that no writer of links can forget it, least of all one of the version before this one. Whoever
    # changes a link holds the lock of its account.
    op.execute(
        """CREATE FUNCTION note_linked_xid() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            own CONSTANT bigint := CAST(CAST(pg_current_xact_id() AS text) AS bigint);
            changed links := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
        BEGIN
            UPDATE accounts SET linked_xid = own
            WHERE tenant = changed.tenant AND account_id = changed.account_id AND linked_xid IS DISTINCT FROM own;
            RETURN NULL;
        END $$"""
    )
    op.execute(
        """CREATE TRIGGER links_note_linked_xid AFTER INSERT OR UPDATE OR DELETE ON links
        FOR EACH ROW EXECUTE FUNCTION note_linked_xid()"""
    )
