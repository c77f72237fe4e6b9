"""The real parts tests run against: PostgreSQL, RabbitMQ, programs of the machine.

One PostgreSQL and one RabbitMQ serve the whole run, also when pytest-xdist spreads it over several processes: the
first that needs a part starts it under a file lock, the last that used it stops it. A run that was killed leaves
its servers behind; the next run ends them.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil
import psycopg2
import pytest
from psycopg2 import sql

from deploy import database
from deploy.local import postgres, processes, rabbitmq
from deploy.local.processes import StartFailed

PREFIX = "youarecoder-tests-"
SERVERS = ("postgres", "beam.smp", "epmd", "traefik", "python", "python3.11")
PASSWORD = "test-only"
CHECKOUT = Path(__file__).resolve().parent.parent


def need(part: object, reason: str) -> None:
    """Skip the test with `reason` where `part` is missing (falsy); in CI a missing part fails instead."""
    if not part:
        missing(reason)


def missing(reason: str) -> NoReturn:
    """The same for a part whose absence showed as an error."""
    if os.environ.get("CI"):
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def program(*names: str) -> str | None:
    """The path of the first of these programs that the machine has, or None."""
    return next((path for name in names if (path := shutil.which(name))), None)


def run_folder(run_id: str) -> Path:
    """The folder all processes of one run share. Below /var/tmp, because /tmp is memory on some machines.

    Not pytest's tmp_path: that is closed to other accounts, and PostgreSQL does not run as root.
    """
    folder = Path("/var/tmp") / f"{PREFIX}{run_id}"  # noqa: S108  (holds a lock and servers of ours)
    folder.mkdir(mode=0o711, exist_ok=True)
    return folder


def sweep() -> None:
    """End the servers and remove the folders of runs whose first process is dead."""
    for folder in Path("/var/tmp").glob(f"{PREFIX}*"):  # noqa: S108
        pid = folder.name.removeprefix(PREFIX)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            remove_run_folder(pid)


def remove_run_folder(run_id: str) -> None:
    """Remove a run's folder; end first what still runs in it, which only a killed run leaves."""
    folder = Path("/var/tmp") / f"{PREFIX}{run_id}"  # noqa: S108
    if folder.exists():
        for process in psutil.process_iter(["name"]):
            if process.info["name"] in SERVERS:
                with contextlib.suppress(psutil.Error):
                    # The folder stands in a server's arguments, or in its environment: the port mapper's home, the
                    # clock of a platform's services.
                    known = process.environ()
                    places = [*process.cmdline(), known.get("HOME", "") + "/", known.get("CLOCK_FILE", "")]
                    if any(f"{folder}/" in place for place in places):
                        processes.end_by_id(process.pid, signal.SIGKILL, patience=5)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Shared:
    """A server all processes of a run use: a count of users under a file lock decides who starts and who stops."""

    folder: Path
    start: Callable[[Path], dict[str, Any]]
    stop: Callable[[dict[str, Any]], None]

    @contextlib.contextmanager
    def use(self) -> Iterator[dict[str, Any]]:
        """What `start` told about the server, for as long as the block lasts."""
        self.folder.mkdir(mode=0o711, exist_ok=True)
        state_file = self.folder / "users.json"
        with self._locked():
            state = json.loads(state_file.read_text()) if state_file.exists() else {"users": 0}
            if not state["users"]:
                state["told"] = self.start(self.folder)
            state["users"] += 1
            state_file.write_text(json.dumps(state))
        try:
            yield state["told"]
        finally:
            with self._locked():
                state = json.loads(state_file.read_text())
                state["users"] -= 1
                state_file.write_text(json.dumps(state))
                if not state["users"]:
                    self.stop(state["told"])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "users.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def shared_postgres(folder: Path) -> Shared:
    """The run's PostgreSQL. Without fsync: what it holds need not survive the machine."""

    def start(at: Path) -> dict[str, Any]:
        try:
            _started["postgres"] = postgres.start(at, durable=False)
        except StartFailed as failure:
            missing(str(failure))
        return {"data_dir": str(at)}

    def stop(told: dict[str, Any]) -> None:
        server = _started.get("postgres") or postgres.attach(Path(told["data_dir"]))
        if server is not None:
            server.stop()

    return Shared(folder / "postgres", start, stop)


# What this process started. Kept, so that a server's lock file stays open as long as its starter lives.
_started: dict[str, Any] = {}


class TestDatabase:
    """A database of its own with the six services' roles and schemas, empty unless it came from a template.

    Calling it gives a service's URL: `database("billing")`.
    """

    __test__ = False  # no test class, whatever its name says

    def __init__(self, server: postgres.PostgresServer, name: str) -> None:
        self.name = name
        self.urls = database.create(server.admin_dsn, name, dict.fromkeys(database.SERVICES, PASSWORD))
        #: The superuser's URL of this database, to look at what no service may see.
        self.admin_url = server.url.rsplit("/", 1)[0] + f"/{name}"

    def __call__(self, service: str) -> str:
        """The service's own SQLAlchemy URL."""
        return self.urls[service]


class Databases:
    """Makes databases on the run's server, and drops them at the end."""

    def __init__(self, server: postgres.PostgresServer, worker: str) -> None:
        self._server = server
        self._prefix = f"t_{worker}_{os.getpid()}"
        self._made: list[str] = []
        self._templates: dict[str, str] = {}

    def new(self, template: str | None = None, prepare: Callable[[TestDatabase], None] | None = None) -> TestDatabase:
        """A fresh database; its user drops it with `drop`, or the session's end does.

        With `template` and `prepare`: `prepare` (usually migrations) runs once a session for each template name
        on a database that the others are then copied from, which takes some 30 ms instead of a migration.
        """
        if template is None:
            return self._make()
        if prepare is None:
            raise ValueError("a template needs a function that prepares it")
        if template not in self._templates:
            made = self._make()
            prepare(made)
            self._templates[template] = made.name
        return self._make(self._templates[template])

    def drop(self, made: TestDatabase) -> None:
        """Remove one database now, and whoever is connected to it."""
        database.drop(self._server.admin_dsn, made.name)
        self._made.remove(made.name)

    def drop_all(self) -> None:
        """Remove all of them."""
        for name in self._made:
            database.drop(self._server.admin_dsn, name)
        self._made.clear()

    def _make(self, source: str | None = None) -> TestDatabase:
        name = f"{self._prefix}_{len(self._made)}_{os.urandom(3).hex()}"
        if source is not None:
            self._copy(source, name)
        self._made.append(name)
        return TestDatabase(self._server, name)

    def _copy(self, source: str, name: str) -> None:
        connection = psycopg2.connect(self._server.admin_dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                # A pooled connection somebody forgot on the template would make the copy fail.
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source])
                cursor.execute(
                    # FILE_COPY is the faster one where fsync is off and the database is small.
                    sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                        sql.Identifier(name), sql.Identifier(source)
                    )
                )
        finally:
            connection.close()


def shared_rabbitmq(folder: Path) -> Shared:
    """The run's RabbitMQ: Debian's package, else a container where an image is to be had, else missing."""

    def start(at: Path) -> dict[str, Any]:
        if rabbitmq.available():
            try:
                server = _started["rabbitmq"] = rabbitmq.start(at)
            except StartFailed as failure:
                missing(str(failure))
            return {"url": server.url, "pids": server.pids}
        return {"url": _rabbitmq_container(), "pids": []}

    def stop(told: dict[str, Any]) -> None:
        if "rabbitmq" in _started:
            _started["rabbitmq"].stop()
            return
        for pid in told["pids"]:
            processes.end_by_id(pid, signal.SIGTERM, patience=15)

    return Shared(folder / "rabbitmq", start, stop)


def _rabbitmq_container() -> str:
    """The URL of a broker in a container; testcontainers' own watcher removes it when the run is over."""
    try:
        # The generic container: testcontainers' own class for RabbitMQ wants another client library.
        from testcontainers.core.container import DockerContainer

        container = DockerContainer("rabbitmq:4-alpine").with_exposed_ports(5672)
        container = container.with_env("RABBITMQ_DEFAULT_USER", "platform")
        container = container.with_env("RABBITMQ_DEFAULT_PASS", PASSWORD)
        container.start()
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(5672))
    except Exception as error:  # whatever is wrong with an engine, a registry or an image
        missing(f"RabbitMQ: no package rabbitmq-server on this machine, and no container: {error}")
    deadline = time.monotonic() + rabbitmq.PATIENCE_S
    while not rabbitmq.speaks_amqp(host, port):
        if time.monotonic() > deadline:
            pytest.fail("RabbitMQ's container does not answer")
    return f"amqp://platform:{PASSWORD}@{host}:{port}/"
