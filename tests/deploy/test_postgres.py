"""The embedded PostgreSQL: real processes, real files, the ways a machine treats them badly."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from deploy.local import postgres, processes
from deploy.local.processes import AlreadyRunning, StartFailed


@pytest.fixture
def folder(run_folder: Path) -> Iterator[Path]:
    """A folder the database's account may enter."""
    made = Path(tempfile.mkdtemp(dir=run_folder))
    made.chmod(0o711)
    yield made
    server = postgres.attach(made)
    if server is not None:
        server.stop()


def query(server: postgres.PostgresServer, statement: str) -> object:
    """The first value of the statement's first row, or None for one that has no rows."""
    connection = psycopg2.connect(server.admin_dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def test_keeps_data_over_restarts(folder: Path) -> None:
    first = postgres.start(folder)
    query(first, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    assert not first.is_running()
    second = postgres.start(folder)
    assert query(second, "SELECT answer FROM kept") == 42
    second.stop()
    second.stop()  # a second call does nothing


def test_is_durable_modest_and_on_loopback_only(folder: Path) -> None:
    server = postgres.start(folder)
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "shared_buffers": "64MB",
        "max_connections": "200",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    assert {name: query(server, f"SHOW {name}") for name in wanted} == wanted
    listening = [c.laddr for c in psutil.net_connections("inet") if c.pid == server.pid and c.status == "LISTEN"]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.port)]
    assert psutil.Process(server.pid).uids().effective != 0
    server.stop()


def test_wrong_or_no_password_stays_outside(folder: Path) -> None:
    server = postgres.start(folder, durable=False)
    for password in ("wrong", "", None):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host=server.host, port=server.port, user="postgres", password=password, dbname="postgres")
    assert server.admin_dsn not in repr(server)
    server.stop()


def test_second_start_is_refused_while_the_first_runs(folder: Path) -> None:
    server = postgres.start(folder, durable=False)
    with pytest.raises(AlreadyRunning):
        postgres.start(folder)
    assert query(server, "SELECT 1") == 1
    server.stop()


def test_server_left_by_a_killed_platform_is_replaced(folder: Path) -> None:
    code = (
        "import sys, time, pathlib\nfrom deploy.local import postgres\n"
        "print(postgres.start(pathlib.Path(sys.argv[1])).pid, flush=True)\ntime.sleep(600)"
    )
    platform = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert platform.stdout is not None
    left_behind = int(platform.stdout.readline())
    platform.kill()
    platform.wait()
    platform.stdout.close()
    assert processes.alive(left_behind)
    said: list[str] = []
    server = postgres.start(folder, said.append)
    assert not processes.alive(left_behind)
    assert any("left behind" in line for line in said)
    server.stop()


def test_crashed_server_recovers_what_was_committed(folder: Path) -> None:
    server = postgres.start(folder)
    query(server, "CREATE TABLE kept AS SELECT 7 AS answer")
    os.killpg(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (folder / "home" / "cluster" / "postmaster.pid").exists()
    server.stop()
    again = postgres.start(folder)
    assert query(again, "SELECT answer FROM kept") == 7
    again.stop()


def test_pid_file_that_names_another_program_is_cleared_and_the_program_spared(folder: Path) -> None:
    postgres.start(folder, durable=False).stop()
    other = subprocess.Popen(["sleep", "600"])
    try:
        (folder / "home" / "cluster" / "postmaster.pid").write_text(f"{other.pid}\n/elsewhere\n1\n1\n\n*\n1 1\nready\n")
        server = postgres.start(folder, durable=False)
        assert query(server, "SELECT 1") == 1
        assert other.poll() is None
        server.stop()
    finally:
        other.kill()
        other.wait()


def test_interrupted_first_start_is_made_good(folder: Path) -> None:
    half = folder / "home" / "cluster.making"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    server = postgres.start(folder, durable=False)
    assert query(server, "SELECT 1") == 1
    server.stop()


def test_taken_port_is_said(folder: Path, postgres_server: postgres.PostgresServer) -> None:
    with pytest.raises(StartFailed, match="Address already in use"):
        postgres.start(folder, port=postgres_server.port, durable=False)
    postgres.start(folder, durable=False).stop()  # and the failure left nothing that is in the way


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as another account")
def test_folder_closed_to_the_account_stays_closed(
    run_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    reachable = folder / "reachable"
    monkeypatch.setattr(postgres, "REACHABLE_HOME", reachable)
    asked = postgres._can_enter
    # The wheel's own programs too: a checkout below /root.
    monkeypatch.setattr(
        postgres, "_can_enter", lambda at, account: "site-packages" not in str(at) and asked(at, account)
    )
    said: list[str] = []
    server = postgres.start(closed / "data", said.append, durable=False)
    assert query(server, "SELECT 1") == 1
    assert psutil.Process(server.pid).exe().startswith(f"{reachable}/postgres-")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert any(str(reachable / "data") in line for line in said)
    attached = postgres.attach(closed / "data")
    assert attached is not None
    assert attached.pid == server.pid
    server.stop()
