"""Commit before the answer, all or nothing, and a database that goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, ProgrammingError

from shared import db
from shared.clock import ManualClock
from shared.db import Database, DatabaseUnavailable
from shared.service import Service
from tests.callers import START, a_member, calling, headers
from tests.infrastructure import TestDatabase
from tests.shared.little.app import build, look

WORDS = "select word from billing.words order by word"
NOWHERE = "postgresql://nobody:hidden@127.0.0.1:1/none"


def test_who_has_the_answer_sees_the_row(little: Service, little_database: TestDatabase) -> None:
    """Another connection looks at the very moment the answer's first byte goes out."""
    seen: list[list[str]] = []
    body = b'{"word": "there"}'

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 201
            seen.append(await asyncio.to_thread(look, little_database, WORDS))

    sent = {"content-type": "application/json", **headers(a_member(), START)}
    scope = {
        "type": "http", "method": "POST", "path": "/words", "raw_path": b"/words", "root_path": "", "scheme": "http",
        "query_string": b"", "http_version": "1.1",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
    }  # fmt: skip
    asyncio.run(little.app(scope, receive, send))
    assert seen == [["there"]]


@pytest.mark.parametrize(("word", "status"), [("fails", 409), ("breaks", 500)])
def test_route_that_raises_leaves_nothing(
    little: Service, little_database: TestDatabase, word: str, status: int
) -> None:
    with calling(little, a_member()) as client:
        assert client.post("/words", json={"word": word}).status_code == status
    assert look(little_database, WORDS) == []


def test_commit_that_fails_is_no_success(little: Service, little_database: TestDatabase) -> None:
    """The table's constraint speaks at the commit only; the client must not have been told 201 by then."""
    with calling(little, a_member()) as client:
        answers = [client.post("/words", json={"word": "same"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 500]
    assert look(little_database, WORDS) == ["same"]


def test_unit_of_work_is_all_or_nothing(little: Service, little_database: TestDatabase) -> None:
    statement = text("insert into words values (gen_random_uuid(), :word)")

    def write_and_fail() -> None:
        with little.database.unit_of_work() as session:
            session.execute(statement, {"word": "lost"})
            session.execute(text("select no_such_column"))

    with pytest.raises(ProgrammingError):
        write_and_fail()
    with little.database.unit_of_work() as session:
        session.execute(statement, {"word": "kept"})
    assert look(little_database, WORDS) == ["kept"]


def test_lost_database_is_503_and_no_word_of_it(clock: ManualClock) -> None:
    service = build(NOWHERE, clock)
    with calling(service, a_member()) as client:
        answer = client.post("/words", json={"word": "x"})
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert "127.0.0.1" not in answer.text
    with pytest.raises(DatabaseUnavailable), service.database.unit_of_work() as session:
        session.execute(text("select 1"))


def test_no_free_connection_is_503(
    little_database: TestDatabase, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = build(little_database("billing"), clock)
    monkeypatch.setattr(service.database.engine.pool, "_timeout", 0.01)
    held = [service.database.engine.connect() for _ in range(10)]
    with calling(service, a_member()) as client:
        assert client.get("/words").status_code == 503
        held.pop().close()
        assert client.get("/words").status_code == 200
    for connection in held:
        connection.close()
    service.database.close()


def test_dead_idle_connections_are_replaced(
    little: Service, little_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pids() -> set[int]:
        connections = [little.database.engine.connect() for _ in range(3)]
        found = {connection.scalar(text("select pg_backend_pid()")) for connection in connections}
        for connection in connections:
            connection.close()
        return found

    before = pids()
    assert pids() == before  # they are pooled
    ours = "usename = 'billing' and datname = current_database()"
    kill = f"select pg_terminate_backend(pid) from pg_stat_activity where {ours}"  # noqa: S608
    assert look(little_database, kill) == [True] * 3
    monkeypatch.setattr(db, "IDLE", 0.0)  # as if they had lain idle long enough
    assert not pids() & before


def test_live_idle_connection_is_used_again(little: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def pid() -> int:
        with little.database.unit_of_work() as session:
            return int(session.scalar(text("select pg_backend_pid()")) or 0)

    before = pid()
    monkeypatch.setattr(db, "IDLE", 0.0)
    assert pid() == before


def test_error_does_not_quote_what_was_written(little: Service) -> None:
    statement = text("insert into words values (gen_random_uuid(), :word)")
    with pytest.raises(DataError, match="too long") as caught, little.database.unit_of_work() as session:
        session.execute(statement, {"word": "a password " * 10})
    assert "a password" not in str(caught.value)


def test_session_is_bounded_and_in_its_schema(little_database: TestDatabase) -> None:
    database = Database(little_database("billing"), "billing")
    with database.unit_of_work() as session:
        shown = [session.scalar(text(f"show {name}")) for name in ("search_path", "timezone", "statement_timeout")]
    database.close()
    assert shown == ["billing", "UTC", "15s"]
