"""Workspaces deleted lately are found without reading those of all years."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An index of what is deleted."""
    op.create_index(
        "ix_workspaces_deleted_at", "workspaces", ["deleted_at"], postgresql_where=sa.text("deleted_at is not null")
    )
