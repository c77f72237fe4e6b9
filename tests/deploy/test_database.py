"""One role and schema a service, and no way across: tried by the roles themselves."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from deploy import database as making
from deploy.local import postgres
from tests.infrastructure import CHECKOUT, PASSWORD, Databases, TestDatabase


@contextmanager
def cursor(url: str) -> Iterator[Any]:
    """A cursor that commits each statement."""
    connection = psycopg2.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        connection.autocommit = True
        with connection.cursor() as made:
            yield made
    finally:
        connection.close()


@pytest.mark.parametrize("service", making.SERVICES)
def test_service_works_in_its_own_schema(module_database: TestDatabase, service: str) -> None:
    engine = create_engine(module_database(service))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE own (id int)"))
        connection.execute(text("INSERT INTO own VALUES (1)"))
        found = connection.execute(
            text("SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'own' AND schemaname = :schema"),
            {"schema": service},
        )
        where = found.one()
    engine.dispose()
    assert tuple(where) == (service, service)


def test_role_has_no_power(database: TestDatabase) -> None:
    with cursor(database("billing")) as billing:
        billing.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles"
            " WHERE rolname = current_user"
        )
        assert billing.fetchone() == (False,) * 5


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM identity.users",
        "INSERT INTO identity.users VALUES (1)",
        "CREATE TABLE identity.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE mine (id int REFERENCES identity.users)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (id int)",
        "DROP SCHEMA identity CASCADE",
        "SET ROLE identity",
        "ALTER ROLE identity PASSWORD 'mine'",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "GRANT identity TO billing",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_no_way_across(database: TestDatabase, statement: str) -> None:
    with cursor(database("identity")) as identity:
        identity.execute("CREATE TABLE users (id int PRIMARY KEY)")
    with cursor(database("billing")) as billing, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        billing.execute(statement)


@pytest.mark.parametrize("name", ["postgres", "template1"])
def test_other_databases_are_closed(database: TestDatabase, name: str) -> None:
    elsewhere = make_url(database("billing")).set(database=name).render_as_string(hide_password=False)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"), cursor(elsewhere):
        pass


def test_wrong_password_stays_outside(database: TestDatabase) -> None:
    for password in ("wrong", "md5", PASSWORD + " "):
        url = make_url(database("billing")).set(password=password).render_as_string(hide_password=False)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"), cursor(url):
            pass


def test_again_changes_nothing_but_passwords(own_server: postgres.PostgresServer) -> None:
    first = making.create(own_server.admin_dsn, "again", {"billing": "one"})
    with cursor(first["billing"]) as billing:
        billing.execute("CREATE TABLE kept (id int)")
    second = making.create(own_server.admin_dsn, "again", {"billing": "two/ü@:%"})
    with cursor(second["billing"]) as billing:
        billing.execute("SELECT count(*) FROM kept")
        assert billing.fetchone() == (0,)
    with pytest.raises(psycopg2.OperationalError), cursor(first["billing"]):
        pass


def test_many_at_once(own_server: postgres.PostgresServer) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            making.create(own_server.admin_dsn, "at_once", dict.fromkeys(making.SERVICES, "same"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with cursor(making.service_url(own_server.admin_dsn, "at_once", "gateway", "same")) as gateway:
        gateway.execute("SELECT current_schema()")
        assert gateway.fetchone() == ("gateway",)


def test_administrator_without_superusers_powers(run_folder: Path) -> None:
    """What a rented database server gives its customer."""
    server = postgres.start(Path(tempfile.mkdtemp(dir=run_folder)), durable=False)
    try:
        with cursor(server.admin_dsn) as superuser:
            superuser.execute("CREATE ROLE tenant LOGIN CREATEDB CREATEROLE PASSWORD 'tenant'")
            superuser.execute("GRANT CONNECT ON DATABASE postgres TO tenant")
        tenant = making.service_url(server.admin_dsn, "postgres", "tenant", "tenant")
        for password in ("one", "two"):
            urls = making.create(tenant, "rented", {"notifier": password})
            with cursor(urls["notifier"]) as notifier:
                notifier.execute(f"CREATE TABLE {password} (id int)")
    finally:
        server.stop()


def test_password_never_reaches_the_servers_log(own_server: postgres.PostgresServer) -> None:
    with cursor(own_server.admin_dsn) as superuser:
        superuser.execute("ALTER SYSTEM SET log_statement = 'all'")
        superuser.execute("SELECT pg_reload_conf()")
    making.create(own_server.admin_dsn, "logged", {"scheduler": "a-very-secret-word"})
    log = (own_server.data_dir / "postgres.log").read_text()
    assert 'CREATE DATABASE "logged"' in log
    assert "a-very-secret-word" not in log


@pytest.mark.parametrize("roles", [{"postgres": "x"}, {"billing": ""}, {'x"; DROP': "x"}])
def test_nonsense_is_refused_before_anything_is_done(
    postgres_server: postgres.PostgresServer, roles: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"not a service|is empty"):
        making.create(postgres_server.admin_dsn, "never", roles)
    with cursor(postgres_server.admin_dsn) as superuser:
        superuser.execute("SELECT 1 FROM pg_database WHERE datname = 'never'")
        assert superuser.fetchone() is None


def test_command_prints_settings_that_work(own_server: postgres.PostgresServer) -> None:
    environment = os.environ | {"ADMIN_DATABASE_URL": own_server.admin_dsn, "BILLING_DATABASE_PASSWORD": "given"}
    command = [sys.executable, "-m", "deploy.database", "create", "--name", "by_command"]
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(settings) == {f"{name.upper()}_DATABASE_URL" for name in making.SERVICES}
    assert make_url(settings["BILLING_DATABASE_URL"]).password == "given"
    for url in settings.values():
        with cursor(url) as own:
            own.execute("SELECT current_schema() = current_user")
            assert own.fetchone() == (True,)


def test_command_says_why_it_could_not() -> None:
    command = [sys.executable, "-m", "deploy.database", "create", "--admin-url", "postgresql://a:b@127.0.0.1:1/x"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "could not be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_template_is_prepared_once_and_copied(databases: Databases) -> None:
    calls = []

    def prepare(made: TestDatabase) -> None:
        calls.append(made.name)
        with cursor(made("billing")) as billing:
            billing.execute("CREATE TABLE plans AS SELECT 'team' AS name")

    for _ in range(2):
        copy = databases.new("test-template", prepare)
        with cursor(copy("billing")) as billing:
            billing.execute("SELECT name FROM plans")
            assert billing.fetchone() == ("team",)
            billing.execute("DROP TABLE plans")
        databases.drop(copy)
    assert len(calls) == 1


@pytest.fixture(scope="module")
def own_server(run_folder: Path) -> Iterator[postgres.PostgresServer]:
    """A server whose roles and settings these tests may change."""
    server = postgres.start(run_folder / f"own-{os.getpid()}", durable=False)
    yield server
    server.stop()
