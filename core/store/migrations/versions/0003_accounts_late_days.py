"""An account knows the late days whose closes are to be written anew.

Revision ID: 0003
Revises: 0002
"""

from alembic import op
import sqlalchemy as sa


revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("late_from", sa.Date(), nullable=True))
    op.add_column("accounts", sa.Column("late_through", sa.Date(), nullable=True))
    op.create_check_constraint(op.f("accounts_late_check"), "accounts", "(late_from IS NULL) = (late_through IS NULL)")
    op.create_index(
        "accounts_late_idx",
        "accounts",
        ["tenant", "late_from"],
        unique=False,
        postgresql_where=sa.text("late_from IS NOT NULL"),
    )
