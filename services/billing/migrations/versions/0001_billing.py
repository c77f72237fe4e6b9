"""Plans, buyers, subscriptions, attempts to pay, notifications, invoices; and the plans themselves."""

import sqlalchemy as sa
from alembic import op

from shared.messaging.migration import create_kernel_tables

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
GIB = 1024**3

# code, name, workspaces, storage in GiB, millicores, memory in MiB, processes, TRY and USD in minor units
PLANS = (
    ("starter", "Starter", 5, 10, 1000, 1536, 512, 87_000, 2_900),
    ("team", "Team", 20, 50, 2000, 3072, 1024, 297_000, 9_900),
    ("enterprise", "Enterprise", None, 250, 4000, 6144, 2048, 897_000, 29_900),
)
TAX = (("TR", 20), ("*", 20))

IMMUTABLE = """
create function refuse_change() returns trigger language plpgsql as $$
begin raise exception 'an invoice is never changed' using errcode = 'restrict_violation'; end $$;
create trigger invoices_are_immutable before update or delete on invoices
    for each row execute function refuse_change();
create trigger invoices_are_kept before truncate on invoices for each statement execute function refuse_change();
"""


def upgrade() -> None:
    create_kernel_tables(op.get_bind())
    op.create_table(
        "buyers",
        sa.Column("company_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=1000), nullable=False),
        sa.Column("country", sa.String(length=1000), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("timezone", sa.String(length=1000), nullable=False),
        sa.Column("address", sa.String(length=1000), nullable=False),
        sa.Column("tax_id", sa.String(length=1000), nullable=False),
        sa.Column("tax_office", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("company_id", name="pk_buyers"),
    )
    op.create_table(
        "invoice_counters",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year", name="pk_invoice_counters"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("merchant_oid", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.CheckConstraint("outcome in ('received', 'handled', 'unknown_order')", name="ck_notifications_outcome"),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
        sa.UniqueConstraint("digest", name="uq_notifications_digest"),
    )
    op.create_index("ix_notifications_merchant_oid", "notifications", ["merchant_oid"])
    op.create_index(
        "ix_notifications_outcome", "notifications", ["outcome"], postgresql_where=sa.text("outcome <> 'handled'")
    )
    op.create_table(
        "plans",
        sa.Column("code", sa.String(length=30), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("workspaces", sa.Integer(), nullable=True),
        sa.Column("storage_bytes", sa.BigInteger(), nullable=False),
        sa.Column("cpu_millicores", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("processes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_plans"),
    )
    op.create_table(
        "tax_rates",
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("percent", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.CheckConstraint("percent >= 0 and percent < 100", name="ck_tax_rates_sensible"),
        sa.PrimaryKeyConstraint("country", name="pk_tax_rates"),
    )
    op.create_table(
        "plan_prices",
        sa.Column("plan", sa.String(length=30), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("minor > 0", name="ck_plan_prices_positive"),
        sa.ForeignKeyConstraint(["plan"], ["plans.code"], name="fk_plan_prices_plan"),
        sa.PrimaryKeyConstraint("plan", "currency", name="pk_plan_prices"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("company_id", sa.Uuid(), nullable=False),
        sa.Column("plan", sa.String(length=30), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("trial_ends_at", MOMENT, nullable=False),
        sa.Column("period_start", MOMENT, nullable=True),
        sa.Column("period_end", MOMENT, nullable=True),
        sa.Column("anchor_day", sa.Integer(), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("grace_ends_at", MOMENT, nullable=True),
        sa.Column("data_kept_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "status <> 'past_due' or grace_ends_at is not null", name="ck_subscriptions_past_due_has_grace"
        ),
        sa.CheckConstraint(
            "status in ('trialing', 'active', 'past_due', 'suspended', 'cancelled', 'expired')",
            name="ck_subscriptions_status",
        ),
        sa.CheckConstraint(
            "status not in ('active', 'past_due') or period_end is not null", name="ck_subscriptions_paid_has_period"
        ),
        sa.ForeignKeyConstraint(["plan"], ["plans.code"], name="fk_subscriptions_plan"),
        sa.PrimaryKeyConstraint("company_id", name="pk_subscriptions"),
    )
    op.create_index(
        "ix_subscriptions_grace_ends_at",
        "subscriptions",
        ["grace_ends_at"],
        postgresql_where=sa.text("status = 'past_due'"),
    )
    op.create_index(
        "ix_subscriptions_period_end", "subscriptions", ["period_end"], postgresql_where=sa.text("status = 'active'")
    )
    op.create_index(
        "ix_subscriptions_trial_ends_at",
        "subscriptions",
        ["trial_ends_at"],
        postgresql_where=sa.text("status = 'trialing'"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merchant_oid", sa.String(length=64), nullable=False),
        sa.Column("company_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("plan", sa.String(length=30), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_percent", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=True),
        sa.Column("reason_code", sa.String(length=20), nullable=True),
        sa.Column("difference", sa.String(length=500), nullable=True),
        sa.Column("settled_by", sa.String(length=20), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("paid_at", MOMENT, nullable=True),
        sa.Column("failed_at", MOMENT, nullable=True),
        sa.Column("queries", sa.Integer(), nullable=False),
        sa.Column("next_query_at", MOMENT, nullable=True),
        sa.CheckConstraint("(state in ('paid', 'refunded')) = (paid_at is not null)", name="ck_attempts_paid_has_time"),
        sa.CheckConstraint(
            "state in ('created', 'token_issued', 'pending', 'paid', 'failed', 'refunded', 'needs_review')",
            name="ck_attempts_state",
        ),
        sa.CheckConstraint("amount_minor > 0 and net_minor + tax_minor = amount_minor", name="ck_attempts_amounts"),
        sa.ForeignKeyConstraint(["company_id"], ["subscriptions.company_id"], name="fk_attempts_company_id"),
        sa.ForeignKeyConstraint(["plan"], ["plans.code"], name="fk_attempts_plan"),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.UniqueConstraint("merchant_oid", name="uq_attempts_merchant_oid"),
    )
    op.create_index("ix_attempts_company_id_id", "attempts", ["company_id", "id"])
    op.create_index(
        "ix_attempts_next_query_at",
        "attempts",
        ["next_query_at"],
        postgresql_where=sa.text("next_query_at is not null"),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("company_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("plan", sa.String(length=30), nullable=False),
        sa.Column("plan_name", sa.String(length=60), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_percent", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("period_start", MOMENT, nullable=False),
        sa.Column("period_end", MOMENT, nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("buyer_name", sa.String(length=1000), nullable=False),
        sa.Column("buyer_address", sa.String(length=1000), nullable=False),
        sa.Column("buyer_country", sa.String(length=1000), nullable=False),
        sa.Column("buyer_tax_id", sa.String(length=1000), nullable=False),
        sa.Column("buyer_tax_office", sa.String(length=1000), nullable=False),
        sa.Column("seller_name", sa.String(length=200), nullable=False),
        sa.Column("seller_address", sa.String(length=400), nullable=False),
        sa.Column("seller_tax_id", sa.String(length=20), nullable=False),
        sa.Column("seller_tax_office", sa.String(length=100), nullable=False),
        sa.Column("order_number", sa.String(length=64), nullable=False),
        sa.CheckConstraint("net_minor + tax_minor = total_minor", name="ck_invoices_adds_up"),
        sa.ForeignKeyConstraint(["payment_id"], ["attempts.id"], name="fk_invoices_payment_id"),
        sa.PrimaryKeyConstraint("id", name="pk_invoices"),
        sa.UniqueConstraint("number", name="uq_invoices_number"),
        sa.UniqueConstraint("payment_id", name="uq_invoices_payment_id"),
    )
    op.create_index("ix_invoices_company_id_id", "invoices", ["company_id", "id"])
    op.execute(IMMUTABLE)
    _seed()


def _seed() -> None:
    columns = ["code", "name", "position", "workspaces", "storage_bytes", "cpu_millicores", "memory_bytes", "processes"]
    plans = sa.table("plans", *(sa.column(name) for name in columns))
    prices = sa.table("plan_prices", *(sa.column(name) for name in ("plan", "currency", "minor")))
    rates = sa.table("tax_rates", sa.column("country"), sa.column("percent"))
    for position, (code, name, workspaces, storage, cpu, memory, processes, lira, dollar) in enumerate(PLANS):
        limits = (code, name, position, workspaces, storage * GIB, cpu, memory * 1024**2, processes)
        op.execute(plans.insert().values(dict(zip(columns, limits, strict=True))))
        for currency, minor in (("TRY", lira), ("USD", dollar)):
            op.execute(prices.insert().values(plan=code, currency=currency, minor=minor))
    for country, percent in TAX:
        op.execute(rates.insert().values(country=country, percent=percent))
