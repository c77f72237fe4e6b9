"""A deleted workspace can be brought back for a while; what was deleted before is erased.

A process of the version before takes `deleted` for "its files may go": it must have ended before this runs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)
STATES = (
    "'requested', 'starting', 'running', 'stopping', 'stopped', 'failed', 'deleting', 'deleted', 'erasing', 'erased'"
)
DESIRED = "'running', 'stopped', 'deleted', 'erased'"


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("restorable_until", MOMENT))
    op.add_column("workspaces", sa.Column("erased_at", MOMENT))
    op.drop_constraint("ck_workspaces_state", "workspaces")
    op.drop_constraint("ck_workspaces_desired", "workspaces")
    op.create_check_constraint("ck_workspaces_state", "workspaces", f"state in ({STATES})")
    op.create_check_constraint("ck_workspaces_desired", "workspaces", f"desired in ({DESIRED})")
    # Who deleted before was told that it is for good: also one that is on its way there stays on it.
    op.execute(
        "update workspaces set desired = 'erased', erased_at = deleted_at,"
        " state = case state when 'deleted' then 'erased' else 'erasing' end where desired = 'deleted'"
    )
    op.create_check_constraint(
        "ck_workspaces_restorable", "workspaces", "(desired = 'deleted') = (restorable_until is not null)"
    )
    op.drop_index("uq_workspaces_living_name", "workspaces")
    op.create_index(
        "uq_workspaces_living_name",
        "workspaces",
        ["company_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("desired not in ('deleted', 'erased')"),
    )
    op.drop_index("ix_workspaces_living", "workspaces")
    op.create_index(
        "ix_workspaces_living", "workspaces", ["id"], postgresql_where=sa.text("state not in ('deleted', 'erased')")
    )
    op.create_index(
        "ix_workspaces_restorable", "workspaces", ["restorable_until"], postgresql_where=sa.text("state = 'deleted'")
    )
    op.create_index(
        "ix_workspaces_company_deleted",
        "workspaces",
        ["company_id", "id"],
        postgresql_where=sa.text("desired = 'deleted'"),
    )
