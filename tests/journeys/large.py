"""A database as large as after years: one real company's rows, multiplied in every service's schema.

1,000 companies of 5 people, 10,000 workspaces (most stopped), 100,000 invoices with their payments, 100,000 mails. Each
new row is a copy of a real one with other ids, so it holds whatever columns the tables have today.
"""

from __future__ import annotations

import psycopg2
from psycopg2 import sql

from deploy.local import postgres
from tests.journeys.person import Person
from tests.journeys.platform import RunningPlatform, eventually

COMPANIES, PEOPLE, WORKSPACES, INVOICES, MAILS = 1_000, 5_000, 10_000, 100_000, 100_000

_FUNCTIONS = """
-- The id of the n-th thing of a kind: a UUIDv7 of some time in the last months, always the same.
create function pg_temp.id(kind text, n bigint) returns text language sql immutable as $$
    select lpad(to_hex(1750000000000 + n * 60000), 12, '0') || '7' || substr(md5(kind || n), 1, 3)
        || 'a' || substr(md5(kind || n), 4, 15)
$$;
create function pg_temp.digest(kind text, n bigint) returns text language sql immutable as $$
    select '\\x' || encode(sha256((kind || n)::bytea), 'hex')
$$;
create function pg_temp.moment(n bigint) returns timestamptz language sql immutable as $$
    select to_timestamp(1750000000 + n * 60)
$$;
"""

# Table, where its real row is found, how many copies, and what is other in the n-th of them.
_COPIES: list[tuple[str, str, int, dict[str, str]]] = [
    ("identity.companies", "id = {company}", COMPANIES, {"id": "pg_temp.id('company', n)"}),
    ("identity.users", "id = {user}", PEOPLE, {
        "id": "pg_temp.id('user', n)", "company_id": "pg_temp.id('company', mod(n, 1000) + 1)",
        "email": "'p' || n || '@large.example'", "email_key": "'p' || n || '@large.example'", "staff": "false",
        "role": "case when n <= 1000 then 'admin' else 'member' end",
    }),
    ("identity.sessions", "user_id = {user}", PEOPLE, {
        "id": "pg_temp.id('session', n)", "user_id": "pg_temp.id('user', n)",
        "digest": "pg_temp.digest('session', n)",
    }),
    ("billing.buyers", "company_id = {company}", COMPANIES, {"company_id": "pg_temp.id('company', n)"}),
    ("billing.subscriptions", "company_id = {company}", COMPANIES, {"company_id": "pg_temp.id('company', n)"}),
    ("billing.attempts", "company_id = {company}", INVOICES, {
        "id": "pg_temp.id('payment', n)", "merchant_oid": "'large' || n",
        "company_id": "pg_temp.id('company', mod(n, 1000) + 1)", "user_id": "pg_temp.id('user', mod(n, 1000) + 1)",
        "created_at": "pg_temp.moment(n)", "next_query_at": "null",
    }),
    ("billing.notifications", "true", INVOICES, {
        "id": "pg_temp.id('notification', n)", "digest": "pg_temp.digest('notification', n)",
        "merchant_oid": "'large' || n", "outcome": "'handled'",
    }),
    ("billing.invoices", "company_id = {company}", INVOICES, {
        "id": "pg_temp.id('invoice', n)", "company_id": "pg_temp.id('company', mod(n, 1000) + 1)",
        "payment_id": "pg_temp.id('payment', n)", "number": "'L2025' || lpad(n::text, 9, '0')", "year": "2025",
        "issued_at": "pg_temp.moment(n)", "order_number": "'large' || n",
    }),
    ("provisioner.entitlements", "company_id = {company}", COMPANIES, {"company_id": "pg_temp.id('company', n)"}),
    ("provisioner.workspaces", "id = {workspace}", WORKSPACES, {
        "id": "pg_temp.id('workspace', n)", "company_id": "pg_temp.id('company', mod(n, 1000) + 1)",
        "owner_id": "pg_temp.id('user', mod(n, 5000) + 1)", "name": "'large ' || n", "name_key": "'large ' || n",
        "host": "'large' || n", "slot": "1000000 + n", "desired": "'stopped'", "state": "'stopped'",
        "retry_at": "null", "lease_holder": "null", "leased_until": "null",
    }),
    ("gateway.workspaces", "id = {workspace}", WORKSPACES, {
        "id": "pg_temp.id('workspace', n)", "host": "'large' || n",
        "company_id": "pg_temp.id('company', mod(n, 1000) + 1)", "owner_id": "pg_temp.id('user', mod(n, 5000) + 1)",
    }),
    ("notifier.companies", "id = {company}", COMPANIES, {"id": "pg_temp.id('company', n)"}),
    ("notifier.recipients", "user_id = {user}", PEOPLE, {
        "user_id": "pg_temp.id('user', n)", "company_id": "pg_temp.id('company', mod(n, 1000) + 1)",
        "email": "'p' || n || '@large.example'",
    }),
    ("notifier.mails", "status = 'sent'", MAILS, {
        "id": "pg_temp.id('mail', n)", "event_id": "pg_temp.id('event', n)", "created_at": "pg_temp.moment(n)",
        "recipient": "'p' || mod(n, 5000) + 1 || '@large.example'",
    }),
    ("scheduler.timers", "subject = {company}", COMPANIES * 4, {
        "id": "pg_temp.id('timer', n)", "subject": "pg_temp.id('company', mod(n, 1000) + 1)",
        "anchor": "pg_temp.moment(n)", "due_at": "pg_temp.moment(n)", "fired_at": "pg_temp.moment(n)",
    }),
]  # fmt: skip


def grow(platform: RunningPlatform, *more: str) -> None:
    """Starts a new platform, makes one real company in it, multiplies it, runs `more` SQL; leaves it stopped."""
    platform.start()
    with Person(platform, "en") as model:
        model.sign_up("Model Ltd")
        model.pay("team")
        model.wait_for_subscription("active")
        workspace = model.new_workspace("model")
        eventually(lambda: model.get("/invoices")["items"], "the invoice")
        platform.mail(model.email, "Payment received")
        me = model.get("/me")
    platform.stop()
    server = postgres.start(platform.data / "postgres")
    try:
        dsn = database_of(server)
        multiply(dsn, me["company"]["id"], me["user"]["id"], workspace["id"])
        connection = psycopg2.connect(dsn)
        with connection, connection.cursor() as cursor:
            for statement in more:
                cursor.execute(statement)
        connection.close()
    finally:
        server.stop()


def database_of(server: postgres.PostgresServer) -> str:
    """The superuser's address of the platform's database."""
    return server.admin_dsn.rpartition("/")[0] + "/youarecoder"


def multiply(dsn: str, company: str, user: str, workspace: str) -> dict[str, int]:
    """Fills the database of a platform that stands still; `dsn` is a superuser's, the ids are a real company's that
    has paid, its admin's and a workspace's of theirs. Returns how many rows each table has now."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_FUNCTIONS)
            for table, found, copies, other in _COPIES:
                cursor.execute(_copy(table, copies, other, found), {"c": company, "u": user, "w": workspace})
                assert cursor.rowcount == copies, f"{table}: {cursor.rowcount}"
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("vacuum (analyze)")
            counts = {}
            for table, *_ in _COPIES:
                cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(*table.split("."))))
                counts[table] = cursor.fetchone()[0]  # type: ignore[index]
            return counts
    finally:
        connection.close()


def _copy(table: str, copies: int, other: dict[str, str], found: str) -> sql.Composed:
    where = found.format(company="%(c)s", user="%(u)s", workspace="%(w)s")
    values = ", ".join(f"'{column}', {value}" for column, value in other.items())
    return sql.SQL(  # of constants above
        f"insert into {{table}} select made.* from (select * from {{table}} where {where} limit 1) as real,"  # noqa: S608
        f" generate_series(1, {copies}) as n,"
        f" jsonb_populate_record(null::{{table}}, to_jsonb(real) || jsonb_build_object({values})) as made"
    ).format(table=sql.Identifier(*table.split(".")))
