"""Milestones leave room in their pages, as accounts and goals do.

Revision ID: 0029
Revises: 0028

A milestone is updated once or twice in its life: when it is reached, and when it is told. In a full page there is no room
for that, so each mark went to another page, and into the index of the primary key anew. Pages written from here on keep
room; those that are full already stay so.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE milestones SET (fillfactor = 80)")
