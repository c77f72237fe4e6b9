"""Mails that were never sent and still hold their facts are found without reading those of all years."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An index of what is to be emptied one day."""
    op.create_index(
        "ix_mails_kept_facts",
        "mails",
        ["created_at"],
        postgresql_where=sa.text("status <> 'sent' and facts <> '{}'::jsonb"),
    )
