"""Ids of messages have no full stop: the type is spelled with underscores.

Revision ID: 0018_message_ids
Revises: 0017_messages
"""

from alembic import op

revision = "0018_message_ids"
down_revision = "0017_messages"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the stored messages, and the subjects of which the next ids are made."""
    op.execute(
        """UPDATE outbox SET message_id = concat(replace(type, '.', '_'), substr(message_id, strpos(message_id, ':')))
        WHERE strpos(message_id, ':') > 0"""
    )
    op.execute(
        """UPDATE message_counts
        SET subject = concat(replace(split_part(subject, ':', 1), '.', '_'), substr(subject, strpos(subject, ':')))"""
    )
