"""Timers, jobs and their runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.messaging.migration import create_kernel_tables

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_kernel_tables(op.get_bind())
    op.create_table(
        "timers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("rule", sa.String(50), nullable=False),
        sa.Column("subject", sa.Uuid, nullable=False),
        sa.Column("anchor", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("announcement", sa.String(100), nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("fired_at", MOMENT),
        sa.Column("cancelled_at", MOMENT),
        sa.UniqueConstraint("rule", "subject", "anchor", name="uq_timers_rule_subject_anchor"),
    )
    waiting = sa.text("fired_at is null and cancelled_at is null")
    op.create_index("ix_timers_due_at", "timers", ["due_at"], postgresql_where=waiting)
    op.create_index("ix_timers_subject", "timers", ["subject"])
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("cron", sa.String(50), nullable=False),
        sa.Column("next_at", MOMENT, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("job", sa.String(50), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("announced_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("report", sa.Text, nullable=False),
        sa.CheckConstraint("state in ('waiting', 'announced', 'succeeded', 'failed')", name="ck_runs_state"),
    )
    op.create_index("ix_runs_job_id", "runs", ["job", "id"])
    op.create_index("ix_runs_starts_at", "runs", ["starts_at"], postgresql_where=sa.text("state = 'waiting'"))
