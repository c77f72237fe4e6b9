"""The workspaces that have a route, are on their way or worked on are found without reading those of all years."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_workspaces_routed", "workspaces", ["host"], postgresql_where=sa.text("desired = 'running'"))
    op.create_index(
        "ix_workspaces_leased", "workspaces", ["lease_holder"], postgresql_where=sa.text("lease_holder is not null")
    )
    op.create_index(
        "ix_workspaces_moving",
        "workspaces",
        ["id"],
        postgresql_where=sa.text("state in ('requested', 'starting', 'stopping', 'deleting', 'erasing')"),
    )
