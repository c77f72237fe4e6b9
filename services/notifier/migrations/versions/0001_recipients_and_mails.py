"""Who can be told, and what was told them."""

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
        "companies",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.String(1000), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("timezone", sa.String(100), nullable=False),
        sa.Column("details_sequence", sa.BigInteger, nullable=False),
        sa.Column("trial_ends_at", MOMENT),
        sa.Column("trial_sequence", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "recipients",
        sa.Column("user_id", sa.Uuid, primary_key=True),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("role_sequence", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("ix_recipients_company_id", "recipients", ["company_id"])
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("recipient_name", sa.String(200), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("timezone", sa.String(100), nullable=False),
        sa.Column("facts", JSONB, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.String(64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("leased_until", MOMENT),
        sa.Column("sent_at", MOMENT),
        sa.UniqueConstraint("event_id", "recipient", name="uq_mails_event_id_recipient"),
        sa.CheckConstraint("status in ('waiting', 'sent', 'failed')", name="ck_mails_status"),
    )
    op.create_index("ix_mails_due_at", "mails", ["due_at"], postgresql_where=sa.text("status = 'waiting'"))
    op.create_index("ix_mails_created_at", "mails", ["created_at"])
