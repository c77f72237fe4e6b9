"""The platform's database: one schema and one login role a service, and no way from one to another.

    python -m deploy.database create --admin-url postgresql://admin:…@host:5432/postgres --name youarecoder

Passwords come from <SERVICE>_DATABASE_PASSWORD; one that is not given is made and set anew. The lines printed
are the services' settings (`BILLING_DATABASE_URL=…`), fit for an environment file. Each variable, ADMIN_DATABASE_URL
too, may be a file of that name in /run/secrets instead. It can be run again at any time, and by several machines at
once.

Roles belong to the whole server: two platforms on one server share the roles' passwords.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password
from sqlalchemy import URL, make_url

SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler", "gateway")

# Any number will do that nobody else takes on this server; these are the letters "yac-db".
_LOCK = 0x7961632D6462

_POWERLESS = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


def create(admin_dsn: str, name: str, roles: Mapping[str, str]) -> dict[str, str]:
    """Make the database `name` with a role and a schema for each of `roles` (service: password).

    Returns each service's SQLAlchemy URL. Idempotent; passwords are set to those given. `admin_dsn` is a
    superuser's URL, or that of a role with CREATEDB and CREATEROLE; its host and options go into the URLs.
    Raises ValueError for an unknown service or an empty password, psycopg2.Error when the server refuses.
    """
    for service, password in roles.items():
        if service not in SERVICES:
            raise ValueError(f"{service!r} is not a service; they are {', '.join(SERVICES)}")
        if not password:
            raise ValueError(f"the password of {service} is empty")
    admin = make_url(admin_dsn)
    with _connect(admin) as server:
        # Catalogue changes of two runs at once would meet as "tuple concurrently updated".
        # The lock is this session's and is freed when it closes, however that happens.
        server.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        for service, password in roles.items():
            _put_role(server, service, password)
        server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if server.fetchone() is None:
            # template0: nothing a local administrator put into template1 comes along.
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        database = sql.Identifier(name)
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        for service in roles:
            role = sql.Identifier(service)
            server.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
            # Here and not in the URL: a pooler in between may drop connection options.
            server.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(role, database, role))
        with _connect(admin.set(database=name)) as inside:
            inside.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            for service in roles:
                schema = sql.Identifier(service)
                inside.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0} AUTHORIZATION {0}").format(schema))
                inside.execute(sql.SQL("ALTER SCHEMA {0} OWNER TO {0}").format(schema))
    return {service: service_url(admin_dsn, name, service, password) for service, password in roles.items()}


def service_url(admin_dsn: str, name: str, service: str, password: str) -> str:
    """The URL a service uses: the admin's server and options, the service's own role."""
    url = make_url(admin_dsn).set(drivername="postgresql+psycopg2", username=service, password=password, database=name)
    return url.render_as_string(hide_password=False)


def drop(admin_dsn: str, name: str) -> None:
    """Remove the database and whoever is connected to it. The roles stay. For tests and `make up --fresh`."""
    with _connect(make_url(admin_dsn)) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _connect(url: URL) -> Iterator[Any]:
    """A cursor whose statements each commit: databases cannot be made inside a transaction."""
    connection = psycopg2.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), connect_timeout=10
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _put_role(cursor: Any, service: str, password: str) -> None:
    role = sql.Identifier(service)
    # Hashed here, as psql's \password does: the clear one never stands in a statement the server may log.
    verifier = sql.Literal(encrypt_password(password, service, cursor.connection, "scram-sha-256"))
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [service])
    exists = cursor.fetchone() is not None
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    superuser = cursor.fetchone()[0]
    verb = "ALTER" if exists else "CREATE"
    # An administrator who is no superuser may not even say NOSUPERUSER of a role that is there.
    powers = "" if exists and not superuser else _POWERLESS
    cursor.execute(sql.SQL(f"{verb} ROLE {{}} LOGIN {powers} PASSWORD {{}}").format(role, verifier))
    if not superuser:
        # Without superuser's powers one must be a member of the role to give it a schema.
        cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))


def _given(name: str) -> str | None:
    """A setting from the environment, else from its file."""
    if value := os.environ.get(name):
        return value
    file = Path(os.environ.get("SECRETS_DIR", "/run/secrets")) / name
    return file.read_text().strip() if file.is_file() else None


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when done, 1 when the server refused."""
    parser = argparse.ArgumentParser(prog="python -m deploy.database", description="Make the database.")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("create", help="make or update the database, its roles and schemas")
    making.add_argument("--admin-url", default=_given("ADMIN_DATABASE_URL"))
    making.add_argument("--name", default="youarecoder")
    making.add_argument("--quiet", action="store_true", help="do not print the settings, which hold passwords")
    chosen = parser.parse_args(arguments)
    if not chosen.admin_url:
        parser.error("give --admin-url or ADMIN_DATABASE_URL")
    roles = {
        service: _given(f"{service.upper()}_DATABASE_PASSWORD") or secrets.token_urlsafe(24) for service in SERVICES
    }
    try:
        urls = create(chosen.admin_url, chosen.name, roles)
    except psycopg2.Error as error:
        print(f"The database could not be made: {str(error).strip()}", file=sys.stderr)
        return 1
    for service, url in urls.items() if not chosen.quiet else ():
        print(f"{service.upper()}_DATABASE_URL={url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
