"""The command line, as real processes of a real service: the scheduler."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from shared.db import Database
from shared.events import UnreadableEvent
from shared.messaging import deadletters
from shared.migrate import migrate
from tests.callers import PUBLIC_KEY
from tests.infrastructure import CHECKOUT, Databases, TestDatabase
from tests.shared.little.app import look

PACKAGE = "services.scheduler"
PATIENCE = 120
"""Seconds a process may take on a busy machine."""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def migrated(databases: Databases) -> Iterator[TestDatabase]:
    def prepare(made: TestDatabase) -> None:
        with contextlib.closing(Database(made("scheduler"), "scheduler")) as own:
            migrate(own, PACKAGE)

    made = databases.new("scheduler-command", prepare)
    yield made
    databases.drop(made)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m services.scheduler …` with nothing of ours in its environment but what is given."""
    begun: list[subprocess.Popen[str]] = []

    def run(*words: str, url: str | None = None, **environment: str) -> subprocess.Popen[str]:
        known = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        if url is not None:
            known.update({"SCHEDULER_DATABASE_URL": url, "TOKEN_PUBLIC_KEY": PUBLIC_KEY})
        command = [sys.executable, "-m", PACKAGE, *words]
        begun.append(
            subprocess.Popen(
                command, cwd=CHECKOUT, env={**known, **environment}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code and what was said."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def said(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The line of this event, once it is there."""
    assert process.stdout is not None
    for line in process.stdout:
        facts: dict[str, Any] = json.loads(line)
        if facts["event"] == event:
            return facts
    pytest.fail(f"it ended instead: {ended(process)[2]}")


def test_wrong_settings_are_listed(start: Start) -> None:
    code, out, err = ended(start("serve", SCHEDULER_TICK="hidden", SCHEDULER_PORT="99999"))
    assert (code, out) == (2, "")
    for name in ("SCHEDULER_DATABASE_URL", "TOKEN_PUBLIC_KEY", "TICK", "SCHEDULER_PORT"):
        assert name in err
    assert "hidden" not in err
    assert "Traceback" not in err


def test_schema_that_is_behind_is_refused_until_migrated(start: Start, database: TestDatabase) -> None:
    url = database("scheduler")
    for command in ("serve", "api", "worker"):
        code, _, err = ended(start(command, url=url))
        assert code == 1
        assert "python -m services.scheduler migrate" in err
        assert "Traceback" not in err
    assert ended(start("migrate", url=url))[0] == 0
    process = start("serve", url=url)
    said(process, "serving")
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 0


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_serves_and_ends_with_zero(start: Start, migrated: TestDatabase, command: str) -> None:
    process = start(command, url=migrated("scheduler"))
    ports = said(process, "serving")
    assert httpx.get(f"http://127.0.0.1:{ports['ops_port']}/readyz", timeout=PATIENCE).status_code == 200
    assert (ports["port"] is None) is (command == "worker")
    if ports["port"]:
        answer = httpx.get(f"http://127.0.0.1:{ports['port']}/api/v1/admin/jobs", timeout=PATIENCE)
        assert answer.status_code == 401
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"


def test_ends_while_the_broker_is_away(start: Start, migrated: TestDatabase) -> None:
    process = start("serve", url=migrated("scheduler"), AMQP_URL="amqp://127.0.0.1:1/")
    said(process, "no connection to the broker")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def test_dead_letters(start: Start, migrated: TestDatabase) -> None:
    url = migrated("scheduler")
    with contextlib.closing(Database(url, "scheduler")) as own, own.unit_of_work() as session:
        for body in (b"hidden one", b"hidden two"):
            deadletters.park_unreadable(session, body, UnreadableEvent("cannot be read"))
        first, second = (str(letter.id) for letter in deadletters.parked(session, after=None, limit=9))
    code, out, _ = ended(start("dead-letters", "list", url=url))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [first, second]
    assert "hidden" not in out
    assert ended(start("dead-letters", "replay", first, url=url))[0] == 0
    assert ended(start("dead-letters", "drop", second, url=url))[0] == 0
    rows = "select id::text from scheduler.failed_deliveries where due_at is not null"
    assert look(migrated, rows) == [first]
    for words in (("drop", second), ("drop",), ("drop", "nonsense"), ("burn", second)):
        code, _, err = ended(start("dead-letters", *words, url=url))
        assert code in (1, 2)
        assert err
        assert "Traceback" not in err
    assert look(migrated, "select count(*) from scheduler.failed_deliveries") == [1]
