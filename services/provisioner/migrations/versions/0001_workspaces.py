"""Workspaces, what companies may use, and who we are."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.messaging.migration import create_kernel_tables

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
STATES = "'requested', 'starting', 'running', 'stopping', 'stopped', 'failed', 'deleting', 'deleted'"
DESIRED = "'running', 'stopped', 'deleted'"

# Only what people see or the control loop acts on: leases are renewed all the time and interest nobody.
TELL = """
create function tell_workspace() returns trigger language plpgsql as $$
begin perform pg_notify('workspaces_' || current_schema(), new.id::text); return null; end $$;
create trigger workspaces_changed
after insert or update of name, desired, state, generation, cause, stages, started_at on workspaces
for each row execute function tell_workspace();
"""


def upgrade() -> None:
    create_kernel_tables(op.get_bind())
    op.execute("create sequence address_slots minvalue 0 start 0")
    op.create_table(
        "installation",
        sa.Column("one", sa.Boolean, nullable=False),
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("probe_secret", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_installation"),
        sa.CheckConstraint("one", name="ck_installation_one_row"),
    )
    op.create_table(
        "entitlements",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("plan", sa.String(100), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("workspaces", sa.Integer),
        sa.Column("storage_bytes", sa.BigInteger, nullable=False),
        sa.Column("cpu_millicores", sa.Integer, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("processes", sa.Integer, nullable=False),
        sa.Column("data_kept_until", MOMENT),
        sa.PrimaryKeyConstraint("company_id", name="pk_entitlements"),
    )
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("owner_name", sa.String(200), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("name_key", sa.String(64), nullable=False),
        sa.Column("template", sa.String(40), nullable=False),
        sa.Column("host", sa.String(20), nullable=False),
        sa.Column("slot", sa.Integer),
        sa.Column("desired", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("cause", sa.String(40)),
        sa.Column("stages", JSONB, nullable=False),
        sa.Column("limits", JSONB),
        sa.Column("entitlement_stopped", sa.Boolean, nullable=False),
        sa.Column("stop_reason", sa.String(20)),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("restarts_since", MOMENT),
        sa.Column("retry_at", MOMENT),
        sa.Column("first_ready_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("deleted_at", MOMENT),
        sa.Column("lease_holder", sa.Uuid),
        sa.Column("leased_until", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_workspaces"),
        sa.UniqueConstraint("host", name="uq_workspaces_host"),
        sa.UniqueConstraint("slot", name="uq_workspaces_slot"),
        sa.CheckConstraint(f"state in ({STATES})", name="ck_workspaces_state"),
        sa.CheckConstraint(f"desired in ({DESIRED})", name="ck_workspaces_desired"),
    )
    op.create_index(
        "uq_workspaces_living_name",
        "workspaces",
        ["company_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("desired <> 'deleted'"),
    )
    op.create_index("ix_workspaces_company_id_id", "workspaces", ["company_id", "id"])
    op.create_index("ix_workspaces_living", "workspaces", ["id"], postgresql_where=sa.text("state <> 'deleted'"))
    op.execute(TELL)
