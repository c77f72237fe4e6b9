"""Companies, users, sessions, one-time links, invitations, and what keeps guessing and flooding slow."""

import sqlalchemy as sa
from alembic import op

from shared.messaging.migration import create_kernel_tables

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
ROLES = "role in ('admin', 'member')"


def upgrade() -> None:
    create_kernel_tables(op.get_bind())
    op.create_table(
        "companies",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("tax_id", sa.String(20), nullable=False),
        sa.Column("tax_office", sa.String(80), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("company_id", sa.Uuid, sa.ForeignKey("companies.id"), nullable=False),
        sa.Column("email", sa.String(254), nullable=False, comment="as given; mails go here"),
        sa.Column("email_key", sa.String(254), comment="normalised once; null when the person has left"),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("staff", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("verified_at", MOMENT),
        sa.Column("left_at", MOMENT),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
        sa.CheckConstraint(ROLES, name="ck_users_role"),
        sa.CheckConstraint("(left_at is null) = (email_key is not null)", name="ck_users_left"),
    )
    here = sa.text("left_at is null")
    op.create_index("ix_users_company_id_id", "users", ["company_id", "id"], postgresql_where=here)
    op.create_index(
        "ix_users_email_key_prefix", "users", ["email_key"], postgresql_ops={"email_key": "text_pattern_ops"}
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
        sa.Column("ip", sa.String(45), nullable=False),
        sa.Column("user_agent", sa.String(200), nullable=False),
        sa.UniqueConstraint("digest", name="uq_sessions_digest"),
    )
    op.create_index("ix_sessions_user_id_id", "sessions", ["user_id", "id"])
    op.create_table(
        "one_time_tokens",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("purpose", sa.String(10), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
        sa.Column("used_at", MOMENT),
        sa.CheckConstraint("purpose in ('verify', 'reset')", name="ck_one_time_tokens_purpose"),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("company_id", sa.Uuid, sa.ForeignKey("companies.id"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(254), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("invited_by", sa.String(80), nullable=False, comment="the admin's name at that time"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
        sa.Column("accepted_at", MOMENT),
        sa.CheckConstraint(ROLES, name="ck_invitations_role"),
        sa.UniqueConstraint("digest", name="uq_invitations_digest"),
    )
    op.create_index("ix_invitations_company_id_id", "invitations", ["company_id", "id"])
    op.create_index(
        "uq_invitations_company_id_email_key",
        "invitations",
        ["company_id", "email_key"],
        unique=True,
        postgresql_where=sa.text("accepted_at is null"),
    )
    op.create_table(
        "login_failures",
        sa.Column("subject", sa.LargeBinary, primary_key=True, comment="SHA-256 of what was typed"),
        sa.Column("known", sa.Boolean, nullable=False, comment="an account has it; others may be forgotten first"),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", MOMENT),
        sa.Column("last_at", MOMENT, nullable=False, index=True),
    )
    op.create_table(
        "mail_counts",
        sa.Column("subject_id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.String(30), primary_key=True),
        sa.Column("last_at", MOMENT, nullable=False, index=True),
        sa.Column("window_began_at", MOMENT, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
    )
