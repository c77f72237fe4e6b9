"""How much room workspaces take, where their companies stand with it, and how full the disk is."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("storage_bytes", sa.BigInteger))
    op.add_column("workspaces", sa.Column("storage_at", MOMENT))
    op.add_column("workspaces", sa.Column("storage_low", sa.BigInteger))
    op.add_column("workspaces", sa.Column("storage_final_of", sa.Integer))
    op.add_column(
        "workspaces", sa.Column("storage_in_part", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.add_column(
        "workspaces", sa.Column("storage_cleaning", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.create_index(
        "ix_workspaces_to_measure",
        "workspaces",
        ["storage_at"],
        postgresql_where=sa.text(
            "state not in ('requested', 'erasing', 'erased')"
            " and (desired = 'running' or storage_final_of is distinct from generation)"
        ),
    )
    op.create_table(
        "company_storage",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("warned", sa.Integer, nullable=False),
        sa.Column("over_bytes", sa.BigInteger),
        sa.Column("clean_until", MOMENT),
        sa.Column("bursts", sa.Integer, nullable=False),
        sa.Column("burst_at", MOMENT),
        sa.PrimaryKeyConstraint("company_id", name="pk_company_storage"),
    )
    op.create_table(
        "measuring",
        sa.Column("lane", sa.String(10), nullable=False),
        sa.Column("holder", sa.Uuid, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_measuring"),
    )
    op.create_table(
        "disk",
        sa.Column("one", sa.Boolean, nullable=False),
        sa.Column("total_bytes", sa.BigInteger, nullable=False),
        sa.Column("free_bytes", sa.BigInteger, nullable=False),
        sa.Column("total_files", sa.BigInteger, nullable=False),
        sa.Column("free_files", sa.BigInteger, nullable=False),
        sa.Column("low", sa.Boolean, nullable=False),
        sa.Column("read_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_disk"),
        sa.CheckConstraint("one", name="ck_disk_one_row"),
    )
